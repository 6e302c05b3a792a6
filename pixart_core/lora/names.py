"""The names in LoRA files: whose they are, which module, and which part of its adapter."""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIXES = {
    "transformer.base_model.model.": "DiffEngine",
    "unet.base_model.model.": "PixArt's training scripts",
    "base_model.model.": "PEFT",
    "lora_transformer_": "OneTrainer",
    "lora_unet_": "kohya",
    "lycoris_": "LyCORIS",
    "model.diffusion_model.": "ComfyUI",
    "diffusion_model.": "ComfyUI",
    "transformer.": "diffusers",
    "unet.": "diffusers",
}
"""What stands before a module's name, and who writes it; "" is the plain name."""
PLAIN = "plain names"

_TEXT_ENCODER = ("lora_te", "text_encoder", "lora_text_encoder", "te.")

PARTS = {
    "lora_A.weight": "down",
    "lora_B.weight": "up",
    "lora_A": "down",
    "lora_B": "up",
    "lora_down.weight": "down",
    "lora_up.weight": "up",
    "lora.down.weight": "down",
    "lora.up.weight": "up",
    "lora_mid.weight": "mid",
    "lora_magnitude_vector.weight": "magnitude",
    "lora_magnitude_vector": "magnitude",
    "dora_scale": "magnitude",
    "alpha": "alpha",
    "hada_w1_a": "hada_w1_a",
    "hada_w1_b": "hada_w1_b",
    "hada_w2_a": "hada_w2_a",
    "hada_w2_b": "hada_w2_b",
    "hada_t1": "hada_t1",
    "hada_t2": "hada_t2",
    "lokr_w1": "lokr_w1",
    "lokr_w2": "lokr_w2",
    "lokr_w1_a": "lokr_w1_a",
    "lokr_w1_b": "lokr_w1_b",
    "lokr_w2_a": "lokr_w2_a",
    "lokr_w2_b": "lokr_w2_b",
    "lokr_t2": "lokr_t2",
    "oft_blocks": "oft_blocks",
    "rescale": "rescale",
    "diff": "diff",
    "diff_b": "bias",
    "oft_R.weight": "oft_r",
    "oft_r": "oft_r",
}
"""The end of a name, and the part of an adapter that it stands for."""

_ENDS = tuple(sorted(PARTS, key=len, reverse=True))
_ADAPTER = re.compile(r"\.default(?=\.|$)")
"""What PEFT puts into names while it trains."""


@dataclass(frozen=True)
class Name:
    """A tensor's name, taken apart."""

    style: str
    module: str
    part: str
    for_text_encoder: bool = False


def read_name(key: str) -> Name | None:
    """Take a tensor's name apart; None where it is no part of an adapter."""
    plain = _ADAPTER.sub("", key)
    end = next((end for end in _ENDS if plain.endswith(f".{end}")), None)
    if end is None:
        return None
    module = plain.removesuffix(f".{end}")
    if module.startswith(_TEXT_ENCODER):
        return Name(PLAIN, module, PARTS[end], for_text_encoder=True)
    for prefix, style in PREFIXES.items():
        if module.startswith(prefix):
            return Name(style, module.removeprefix(prefix), PARTS[end])
    return Name(PLAIN, module, PARTS[end])
