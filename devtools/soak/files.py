"""The files of a soak: the demo's, and a second model, a LoRA and a ControlNet made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from devtools.models import demo_models
from pixart_core.checkpoint.opening import open_model
from pixart_core.network.control import PixArtControl

SIGMA, LORA, CONTROL, BROKEN = (
    *("soak-sigma.safetensors", "soak-lora.safetensors", "soak-control.safetensors"),
    "soak-broken.safetensors",
)
_BLOCKS_OF_CONTROL = 3


def models(folder: Path) -> dict[str, list[Path]]:
    """Write the files into a folder and return all of them, as HostServer takes them."""
    demo = demo_models()
    (path,) = demo["diffusion_models"]
    tensors = load_file(path)
    caption = tensors["y_embedder.y_embedding"]
    # A null caption of 300 tokens is what tells Sigma.
    save_file({**tensors, "y_embedder.y_embedding": caption.repeat(3, 1)[:300]}, folder / SIGMA)
    (folder / BROKEN).write_bytes(path.read_bytes()[:100_000])
    save_file(_lora(), folder / LORA)
    save_file(_control(path), folder / CONTROL)
    return {
        **demo,
        "diffusion_models": [path, folder / SIGMA, folder / BROKEN],
        "loras": [folder / LORA],
        "controlnet": [folder / CONTROL],
    }


def _lora() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        f"base_model.model.transformer_blocks.{block}.attn2.to_q.lora_{side}.weight": 0.3
        * torch.randn(shape, generator=generator)
        for block in range(6)
        for side, shape in (("A", (2, 216)), ("B", (216, 2)))
    }


def _control(model: Path) -> dict[str, torch.Tensor]:
    network = replace(open_model(model).info.network, depth=_BLOCKS_OF_CONTROL)
    generator = torch.Generator().manual_seed(5)
    return {
        key: 0.5 * value.shape[-1] ** -0.5 * torch.randn(value.shape, generator=generator)
        for key, value in PixArtControl(network, device="meta").state_dict().items()
    }
