"""A LoRA file taken apart into the adapters of single modules."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ..checkpoint.completeness import check_finite
from ..checkpoint.foreign import some
from ..checkpoint.reading import open_files
from ..checkpoint.source import FolderKind
from ..errors import CheckpointError
from .names import PLAIN, PREFIXES, read_name
from .settings import LoraSettings, read_settings
from .targets import Target

LORA = FolderKind("a LoRA", ("adapter_model", "pytorch_lora_weights"), "transformer")
"""Folders as PEFT and diffusers write them."""


@dataclass(frozen=True)
class Adapter:
    """What was trained for one module."""

    module: str
    """As the file names it, without what stands before."""
    target: Target
    parts: dict[str, Tensor] = field(default_factory=dict)
    """By the names of ``names.PARTS``."""

    @property
    def kind(self) -> str:
        """Which sort it is: "LoRA", "LoHa", "LoKr", "OFT", "difference", or "" for none of them."""
        signs = {
            **{"up": "LoRA", "hada_w1_a": "LoHa", "oft_blocks": "OFT", "oft_r": "OFT"},
            **{"diff": "difference", "bias": "difference"},
        }
        lokr = any(part.startswith("lokr_w1") for part in self.parts)
        return "LoKr" if lokr else next((signs[p] for p in signs if p in self.parts), "")

    @property
    def rank(self) -> int | None:
        """The rank, None where the kind or the file has none."""
        ranked = ("down", "hada_w1_b", "lokr_w1_b", "lokr_w2_b")
        part = next((self.parts[name] for name in ranked if name in self.parts), None)
        return int(part.shape[0]) if part is not None and part.ndim else None


@dataclass(frozen=True)
class LoraFile:
    """All adapters of a file that belong to a model."""

    name: str
    styles: tuple[str, ...]
    """Whose names they are."""
    adapters: tuple[Adapter, ...]
    total: int
    """How many modules the file is for, those of no use here included."""
    unmatched: tuple[str, ...]
    """Modules and tensors that this model has no place for."""
    text_encoder: int
    """How many tensors are for a text encoder."""
    settings: LoraSettings


def read_lora(path: Path, targets: dict[str, Target]) -> LoraFile:
    """Read a LoRA file or folder for a model with these targets.

    Raises CheckpointError where it cannot be read, and where nothing in it is for the model.
    """
    opened = open_files(path, LORA)
    modules: dict[tuple[str, str], dict[str, Tensor]] = {}
    unmatched, texts = [], 0
    for key, tensor in opened.tensors.items():
        name = read_name(key)
        if name is None:
            unmatched.append(key)
        elif name.for_text_encoder:
            texts += 1
        else:
            modules.setdefault((name.style, name.module), {})[name.part] = tensor
    adapters = [
        Adapter(module, targets[module], parts)
        for (_, module), parts in modules.items()
        if module in targets
    ]
    good = [adapter for adapter in adapters if adapter.kind]
    used = {adapter.module for adapter in good}
    unmatched += [module for _, module in modules if module not in used]
    if not good:
        raise _nothing(opened.source.name, list(opened.tensors))
    for adapter in good:
        for part, tensor in adapter.parts.items():
            check_finite(f"{adapter.module}.{part}", tensor)
    styles = tuple(dict.fromkeys(style for style, module in modules if module in used))
    settings = read_settings(opened.source.files[0])
    return LoraFile(
        opened.source.name, styles, tuple(good), len(modules), tuple(unmatched), texts, settings
    )


def _nothing(name: str, keys: list[str]) -> CheckpointError:
    styles = ", ".join(dict.fromkeys([*PREFIXES.values(), PLAIN]))
    return CheckpointError(
        f"{name} has nothing for this model",
        found=f"names such as {some(keys, 1)}" if keys else "no tensors",
        expected=f"modules of PixArt in one of the styles {styles}",
        advice="Choose a LoRA that was trained for PixArt.",
    )
