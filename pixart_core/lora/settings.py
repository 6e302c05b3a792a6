"""What stands beside a LoRA's tensors: its alpha, and how it is to be scaled."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..checkpoint.source import SAFETENSORS
from ..json_text import parse_json

PEFT_ALPHA = 8.0
"""PEFT's default, which PixArt's training scripts left as it was."""

PEFT_TERMS = 5
"""Of Cayley's series, PEFT's default."""

ADAPTER_CONFIG = "adapter_config.json"
_METADATA = "lora_adapter_metadata"
"""Where diffusers keeps the same, inside the file."""
_PEFT_STEM = "adapter_model"
_WEIGHTS = {*SAFETENSORS, ".bin", ".pt", ".pth", ".ckpt"}
_LARGEST = 1_000_000
_MOST_TERMS = 1_000


@dataclass(frozen=True)
class LoraSettings:
    """What ``adapter_config.json`` says, or the defaults where there is none."""

    alpha: float | None = None
    rank: int | None = None
    rank_stabilized: bool = False
    """Whether alpha is divided by the root of the rank."""
    alphas: Mapping[str, float] = field(default_factory=dict)
    """By pattern of module name, where some have their own."""
    neumann_terms: int | None = PEFT_TERMS
    """Of OFT: how many terms of Cayley's series; None is the formula itself."""
    source: str = ""
    """Where it stood."""
    unread: str = ""
    """The name of settings that lay there but could not be read."""

    def alpha_of(self, module: str) -> float | None:
        """Return the alpha of a module, by the names that PEFT knows it by."""
        for pattern, alpha in self.alphas.items():
            if re.fullmatch(rf"(.*\.)?({re.escape(pattern)})", module):
                return alpha
        return self.alpha


def read_settings(file: Path) -> LoraSettings:
    """Read what diffusers wrote into a file, or ``adapter_config.json`` beside it.

    One that lies among several files, of which none is named as PEFT names it, is nobody's.
    """
    inside = _inside(file)
    if inside:
        return _settings(inside, "the file's metadata")
    path = file.parent / ADAPTER_CONFIG
    if not (_has_config(file) and path.is_file()):
        return LoraSettings()
    config = _read(path)
    return LoraSettings(unread=ADAPTER_CONFIG) if config is None else _settings(config, path.name)


def _has_config(file: Path) -> bool:
    """Whether an ``adapter_config.json`` beside a file speaks of it."""
    if file.stem == _PEFT_STEM:
        return True
    # glob, which passes over a folder that may not be listed
    beside = [path for path in file.parent.glob("*") if path.suffix.lower() in _WEIGHTS]
    return beside == [file]


def _settings(config: Mapping[str, Any], source: str) -> LoraSettings:
    pattern = config.get("alpha_pattern")
    alphas = pattern if isinstance(pattern, dict) else {}
    return LoraSettings(
        # LoHa and LoKr call it alpha.
        _number(config.get("lora_alpha", config.get("alpha"))),
        _whole(config.get("r")),
        config.get("use_rslora") is True,
        {name: a for name, value in alphas.items() if (a := _number(value)) is not None},
        _terms(config),
        source,
    )


def _terms(config: Mapping[str, Any]) -> int | None:
    if config.get("use_cayley_neumann") is False:
        return None
    terms = _whole(config.get("num_cayley_neumann_terms")) or PEFT_TERMS
    # What so many terms add up to is the formula.
    return None if terms > _MOST_TERMS else terms


def _inside(file: Path) -> dict[str, Any]:
    if file.suffix not in SAFETENSORS:
        return {}
    try:
        with safe_open(file, framework="pt") as opened:
            text = (opened.metadata() or {}).get(_METADATA, "")
    except (SafetensorError, OSError):
        return {}
    content = _parsed(text) or {}
    return {
        key.removeprefix("transformer."): value
        for key, value in content.items()
        if not key.startswith("text_encoder")
    }


def _read(path: Path) -> dict[str, Any] | None:
    """Return what a file says, None where it cannot be read."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
        return _parsed(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return None


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        content = parse_json(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        number = float(value) if is_number else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
