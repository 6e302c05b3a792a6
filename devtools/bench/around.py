"""What stands around the denoiser: T5 before it and the VAE behind it, each by both sides.

Every function returns one run, for a process of its own: two T5 do not fit into 23 GB.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from devtools.inprocess import import_pack
from devtools.models import demo_models

PROMPT = "a lighthouse on a cliff at dusk, waves below, oil painting, warm light in its windows"
_PADDED = 120
_PROMPT_TOKENS = 24
_VAE_WIDTHS = {False: (128, 256, 512, 512), True: (32, 64, 64, 64)}


def encoder(who: str, device: str, small: bool) -> Callable[[], object]:
    """Return the encoding of a prompt and of the empty one, T5 in bf16 (tiny: fp32)."""
    import_pack()
    if who == "ours":
        from pixart_pack.nodes.host import conditioning, text_encoder

        clip = text_encoder.load_text_encoder(
            _t5(small), "fp32" if small else "bf16", "cpu" if device == "cpu" else "auto"
        )
        return _inferring(lambda: conditioning.encode_prompts(clip, [PROMPT, ""], "auto", None))
    model = _transformers_t5(_t5(small), torch.float32 if small else torch.bfloat16).to(device)
    # As the pipeline does: each padded to 120 tokens, one after the other.
    ids = torch.zeros(2, 1, _PADDED, dtype=torch.long, device=device)
    mask = torch.zeros_like(ids)
    for row, length in enumerate((_PROMPT_TOKENS, 1)):
        ids[row, 0, :length], mask[row, 0, :length] = 1, 1
    return _inferring(
        lambda: [model(input_ids=i, attention_mask=m) for i, m in zip(ids, mask, strict=True)]
    )


def decoder(who: str, device: str, small: bool, side: int) -> Callable[[], object]:
    """Return the decoding of one picture by Stable Diffusion's VAE with random weights, fp32."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    widths = _VAE_WIDTHS[small]
    blocks = len(widths)
    config: dict[str, Any] = {
        "block_out_channels": widths,
        "layers_per_block": 2,
        "latent_channels": 4,
        "down_block_types": ["DownEncoderBlock2D"] * blocks,
        "up_block_types": ["UpDecoderBlock2D"] * blocks,
        "sample_size": 512,
    }
    vae = AutoencoderKL(**config).eval()
    latent = torch.randn(1, 4, side // 8, side // 8)
    if who == "diffusers":
        vae.to(device)
        return _inferring(lambda: vae.decode(latent.to(device)).sample)
    import_pack()
    import comfy.sd

    sizes = {"ch": widths[0], "ch_mult": [width // widths[0] for width in widths]}
    facts = {
        **{"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3},
        **{"num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0, **sizes},
    }
    hosts = comfy.sd.VAE(
        sd=vae.state_dict(),
        config={"params": {"ddconfig": facts, "embed_dim": 4}},
        dtype=torch.float32,
    )
    return _inferring(lambda: hosts.decode(latent))


def _inferring(run: Callable[[], object]) -> Callable[[], object]:
    return torch.inference_mode()(run)


def _t5(small: bool) -> Path:
    from devtools.bench.t5_weights import xxl_folder

    return demo_models()["text_encoders"][0] if small else xxl_folder()


def _transformers_t5(path: Path, dtype: torch.dtype) -> Any:
    from transformers import T5Config, T5EncoderModel

    from pixart_core.text.t5 import VOCABULARY, detect_t5
    from pixart_core.text.t5_file import open_t5

    tensors: dict[str, Tensor] = load_file(path) if path.is_file() else dict(open_t5(path).tensors)
    shape = detect_t5({key: tuple(value.shape) for key, value in tensors.items()})
    config = T5Config(
        d_model=shape.width, d_kv=shape.head_size, d_ff=shape.mlp_size, num_layers=shape.layers,
        num_heads=shape.heads, feed_forward_proj="gated-gelu", vocab_size=VOCABULARY,
    )  # fmt: skip
    with torch.device("meta"):
        model = T5EncoderModel(config).eval()
    embedding = {"encoder.embed_tokens.weight": tensors["shared.weight"]}
    weights = {key: value.to(dtype) for key, value in {**tensors, **embedding}.items()}
    model.load_state_dict(weights, assign=True, strict=False)
    return model
