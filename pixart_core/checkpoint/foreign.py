"""How to tell a PixArt transformer from everything else that lies in the same folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import CheckpointError
from ..network.config import HEAD_SIZE

Shapes = Mapping[str, tuple[int, ...]]

_TELLTALES = (
    ("encoder.block.0.layer.0.SelfAttention.q.weight", "a T5 text encoder", "Load T5 for PixArt"),
    (
        "model.diffusion_model.input_blocks.0.0.weight",
        "a Stable Diffusion checkpoint",
        "Load Checkpoint",
    ),
    ("input_blocks.0.0.weight", "a Stable Diffusion model", "Load Diffusion Model"),
    (
        "down_blocks.0.resnets.0.norm1.weight",
        "a Stable Diffusion UNet",
        "Load Diffusion Model",
    ),
    ("attention_y_norm.weight", "a Sana model", "a loader for Sana"),
    ("caption_norm.weight", "a Sana model", "a loader for Sana"),
    ("patchify_proj.weight", "an LTX-Video model", "Load Diffusion Model"),
    ("proj_in.weight", "a video model", "Load Diffusion Model"),
    ("context_embedder.weight", "a Stable Diffusion 3 or Flux model", "Load Diffusion Model"),
    ("double_blocks.0.img_attn.qkv.weight", "a Flux model", "Load Diffusion Model"),
    (
        "controlnet_blocks.0.after_proj.weight",
        "a PixArt ControlNet without its model",
        "Load PixArt ControlNet",
    ),
    (
        "controlnet.0.after_proj.weight",
        "a PixArt ControlNet without its model",
        "Load PixArt ControlNet",
    ),
    ("decoder.conv_in.weight", "a VAE", "Load VAE"),
    ("taesd_decoder.1.weight", "a tiny VAE", "Load VAE"),
)
"""Tensors by which files of other kinds are known, and what takes them."""

_NEEDED = {
    "t_block.1.weight": 2,
    "y_embedder.y_proj.fc1.weight": 2,
    "blocks.0.cross_attn.q_linear.weight": 2,
    "x_embedder.proj.weight": 4,
    "final_layer.linear.weight": 2,
    "blocks.0.mlp.fc1.weight": 2,
}
"""Tensors that every PixArt model has, and the number of their axes."""

_FOREIGN = ("attention_y_norm.weight",)
"""Sana has it beside all that PixArt has."""

_LORA = ("lora_A.weight", "lora_down.weight", "lora_A.default.weight", "hada_w1_a", "lokr_w1")


def check_is_pixart(shapes: Shapes) -> None:
    """Raise CheckpointError, naming what it is, unless these are an original-layout PixArt."""
    if not any(key in shapes for key in _FOREIGN) and all(
        len(shapes.get(key, ())) == axes for key, axes in _NEEDED.items()
    ):
        _check_heads(shapes)
        return
    for key, kind, node in _TELLTALES:
        if key in shapes:
            raise _unfit(kind, f"Use {node} for it, or choose another file here.")
    if any(key.endswith(_LORA) for key in shapes):
        raise _unfit("a LoRA", "Load the model it was made for here, and the LoRA with its node.")
    raise CheckpointError(
        "This file cannot be loaded as a PixArt model",
        found=f"{len(shapes)} tensors ({some(shapes)})" if shapes else "no tensors",
        expected=f"a PixArt transformer, with tensors such as {next(iter(_NEEDED))}",
        advice="Choose a file with a PixArt model.",
    )


def some(names: Iterable[str], most: int = 3) -> str:
    """Return the first few names as a list in words."""
    listed = list(names)
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "")


def _check_heads(shapes: Shapes) -> None:
    width = shapes["x_embedder.proj.weight"][0]
    if not width or width % HEAD_SIZE:
        raise CheckpointError(
            "This file cannot be loaded as a PixArt model",
            found=f"tokens {width} wide",
            expected=f"a multiple of {HEAD_SIZE}, the size of PixArt's attention heads",
            advice="Choose a file with a PixArt model.",
        )


def _unfit(kind: str, advice: str) -> CheckpointError:
    return CheckpointError(
        "This file cannot be loaded as a PixArt model",
        found=kind,
        expected="a PixArt transformer",
        advice=advice,
    )
