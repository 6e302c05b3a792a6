"""LoRA files as every trainer names them, from PEFT's own adapters on diffusers' transformer."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import PixArtTransformer2DModel
from peft import (
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    OFTConfig,
    get_peft_model,
    get_peft_model_state_dict,
)
from safetensors.torch import save_file
from torch import Tensor

from pixart_core.checkpoint.layouts import to_original

Tensors = dict[str, Tensor]

TARGETS = [
    *("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_out"),
    *("pos_embed.proj", "adaln_single.linear", "linear_1", "linear_2"),
]
"""What PixArt's own scripts train; a convolution and the embedders among them."""
LAYERS = [name for name in TARGETS if name != "pos_embed.proj"]

CONFIGS: dict[str, Callable[[], Any]] = {
    "LoRA": lambda: LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS),
    "rsLoRA": lambda: LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=TARGETS),
    "DoRA": lambda: LoraConfig(r=4, lora_alpha=6, use_dora=True, target_modules=TARGETS),
    "alphas": lambda: LoraConfig(
        r=4,
        lora_alpha=6,
        alpha_pattern={"to_q": 2},
        rank_pattern={"to_k": 2},
        target_modules=TARGETS,
    ),
    # As train_pixart_lcm_lora.py: the alpha is left at PEFT's default.
    "LCM-LoRA": lambda: LoraConfig(r=32, target_modules=TARGETS),
    "LoHa": lambda: LoHaConfig(r=4, alpha=6, target_modules=TARGETS),
    "LoKr": lambda: LoKrConfig(r=2, alpha=6, target_modules=LAYERS),
    "LoKr both": lambda: LoKrConfig(r=1, alpha=3, decompose_both=True, target_modules=LAYERS),
    "OFT": lambda: OFTConfig(r=0, oft_block_size=8, target_modules=["to_q", "to_v", "to_out.0"]),
    "OFT by Cayley": lambda: OFTConfig(
        r=0, oft_block_size=8, use_cayley_neumann=False, target_modules=["to_q", "to_out.0"]
    ),
}
"""What is trained, by name."""


@dataclass(frozen=True)
class Trained:
    """An adapter as PEFT keeps it, and the weights that PEFT merges it into, in original names."""

    adapter: Tensors
    """Named as in adapter_model.safetensors."""
    config: dict[str, Any]
    merged: Tensors


def train(transformer: PixArtTransformer2DModel, kind: str) -> Trained:
    """Put an adapter with random values on a copy of the transformer."""
    torch.manual_seed(3)
    config = CONFIGS[kind]()
    wrapped = get_peft_model(copy.deepcopy(transformer), config)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if parameter.requires_grad:
                noise = torch.randn_like(parameter)
                parameter.copy_(parameter + noise * (0.05 if "magnitude" in name else 0.2))
    adapter = {k: v.detach().clone() for k, v in get_peft_model_state_dict(wrapped).items()}
    settings = {key: value for key, value in config.to_dict().items() if _is_plain(value)}
    merged = wrapped.merge_and_unload().state_dict()
    return Trained(adapter, settings, to_original(merged))


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def peft_folder(trained: Trained, folder: Path) -> Path:
    """A folder as PEFT's save_pretrained writes it."""
    folder.mkdir()
    save_file(trained.adapter, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(trained.config), encoding="utf-8")
    return folder


def with_alphas(tensors: Tensors, alpha: float, end: str) -> Tensors:
    """The tensors with an alpha beside each of the named ends."""
    alphas = {
        f"{key.removesuffix(end)}.alpha": torch.tensor(alpha)
        for key in tensors
        if key.endswith(end)
    }
    return tensors | alphas


def kohya(adapter: Tensors, prefix: str = "lora_unet_") -> Tensors:
    """As kohya's scripts and OneTrainer name the parts."""
    ends = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}
    out = {}
    for key, tensor in adapter.items():
        plain = key.removeprefix("base_model.model.")
        end = next(e for e in ends if plain.endswith(e))
        module = plain.removesuffix(f".{end}").replace(".", "_")
        out[f"{prefix}{module}.{ends[end]}"] = tensor
    return out


def renamed(adapter: Tensors, prefix: str, *, default: bool = False) -> Tensors:
    """PEFT's names behind another prefix, with the adapter's name in them if wanted."""
    out = {}
    for key, tensor in adapter.items():
        plain = key.removeprefix("base_model.model.")
        if default:
            head, _, last = plain.rpartition(".")
            plain = f"{head}.default.{last}"
        out[prefix + plain] = tensor
    return out
