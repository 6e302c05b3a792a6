"""T5-XXL with random weights, as large as the real one, and what it says in fp32."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm
from transformers import T5Config, T5EncoderModel

from devtools.environment import ROOT
from pixart_core.text.t5 import VOCABULARY, T5Shape, tensor_shapes
from pixart_core.text.t5_file import open_t5
from pixart_core.writing import written

XXL = T5Shape(layers=24, width=4096, heads=64, head_size=64, mlp_size=10240)
_PARTS = 6
_LENGTH = 120


def tokens() -> list[int]:
    """Return the tokens of a prompt that takes the whole limit of alpha."""
    rng = random.Random(0)
    return [*(rng.randrange(3, 32000) for _ in range(_LENGTH - 1)), 1]


def xxl_folder() -> Path:
    """Write the model as a folder of bf16 parts, once, and return it."""
    folder = ROOT / ".cache" / "bench" / "t5-xxl-random"
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    shapes = tensor_shapes(XXL)
    names = {key: f"model-{i % _PARTS + 1:05}-of-{_PARTS:05}.safetensors"
             for i, key in enumerate(sorted(shapes))}  # fmt: skip
    for name in tqdm(sorted(set(names.values())), desc="random T5-XXL"):
        part = {k: _random(k, shape) for k, shape in shapes.items() if names[k] == name}
        with written(folder / name, force=True) as draft:
            save_file(part, draft)
    index.write_text(json.dumps({"weight_map": names}), encoding="utf-8")
    return folder


@torch.inference_mode()
def reference_embedding(folder: Path) -> Tensor:
    """Return the embedding (1, 120, 4096) that transformers gives in fp32, block by block."""
    weights = open_t5(folder).tensors
    config = T5Config(
        d_model=XXL.width, d_kv=XXL.head_size, d_ff=XXL.mlp_size, num_layers=1,
        num_heads=XXL.heads, feed_forward_proj="gated-gelu", vocab_size=VOCABULARY,
        is_encoder_decoder=False, use_cache=False,
    )  # fmt: skip
    with torch.device("meta"):
        model = T5EncoderModel(config).eval()
    ids = torch.tensor([tokens()])
    hidden = torch.nn.functional.embedding(ids, weights["shared.weight"].float())
    table = "layer.0.SelfAttention.relative_attention_bias.weight"
    for i in tqdm(range(XXL.layers), desc="fp32, block by block"):
        prefix = f"encoder.block.{i}."
        own = {
            k.removeprefix(prefix): v.float() for k, v in weights.items() if k.startswith(prefix)
        }
        # Each block of the reference adds the same bias, from the table of the first.
        own[table] = weights[f"encoder.block.0.{table}"].float()
        model.encoder.block[0].load_state_dict(own, assign=True)
        hidden = model.encoder.block[0](hidden)[0]
    norm = model.encoder.final_layer_norm
    norm.load_state_dict(
        {"weight": weights["encoder.final_layer_norm.weight"].float()}, assign=True
    )
    out: Tensor = norm(hidden)
    return out


def _random(key: str, shape: tuple[int, ...]) -> Tensor:
    """Return weights as large as those T5 begins its training with."""
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    width = (
        1.0 if key == "shared.weight"
        else (XXL.width * XXL.head_size) ** -0.5 if key.endswith("q.weight")
        else shape[1] ** -0.5
    )  # fmt: skip
    return torch.empty(shape, dtype=torch.bfloat16).normal_(0, width)
