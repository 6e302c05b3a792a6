"""LoRA and its kin on a MODEL, computed by the host's own adapters."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.utils
import torch
from torch import Tensor

from ...pixart_core.checkpoint.foreign import some
from ...pixart_core.errors import CheckpointError
from ...pixart_core.lora.adapters import Alpha, alpha_of, host_parts
from ...pixart_core.lora.reading import Adapter, LoraFile, read_lora
from ...pixart_core.lora.settings import PEFT_ALPHA
from ...pixart_core.lora.targets import targets_of
from .model import require_pixart

_PREFIX = "diffusion_model."


def apply_lora(model: Any, path: Path, strength: float, alpha: float) -> tuple[Any, str]:
    """Return a MODEL with a LoRA on it, and what was found in the file; the given one stays.

    ``alpha`` above 0 is taken instead of the file's. Raises CheckpointError for a strength
    that is no number, and for a file that cannot be read, has nothing for the model, or does not
    fit it.
    """
    failed = "The LoRA cannot be put onto this model"
    require_pixart(model.model, failed, "or use ComfyUI's own LoRA loader for other models.")
    # The host's own limits let NaN through, and torch's attention makes zeros of it.
    if not math.isfinite(strength):
        raise CheckpointError(
            failed,
            found=f"a strength of {strength}",
            expected="a number",
            advice="Set Strength to 1 if in doubt.",
        )
    weights = model.model.diffusion_model.state_dict()
    targets = targets_of({key: tuple(weight.shape) for key, weight in weights.items()})
    file = read_lora(path, targets)
    alphas = [alpha_of(adapter, file.settings, alpha) for adapter in file.adapters]
    parts: dict[str, Tensor] = {}
    places: dict[str, Any] = {}
    for number, (adapter, own) in enumerate(zip(file.adapters, alphas, strict=True)):
        found = host_parts(adapter, own, file.settings, lambda a: _weight(model, a))
        parts |= {f"{number}.{end}": tensor for end, tensor in found.items()}
        places[str(number)] = _place(adapter)
        if "bias" in adapter.parts:
            parts[f"{number}.bias.diff"] = adapter.parts["bias"]
            places[f"{number}.bias"] = _place(adapter, "bias")
    patched = model.clone()
    patched.add_patches(comfy.lora.load_lora(parts, places, log_missing=False), strength)
    return patched, _report(file, alphas)


def _place(adapter: Adapter, kind: str = "weight") -> Any:
    """Return where the host applies an adapter: a weight or bias, or rows of one."""
    target = adapter.target
    key = f"{_PREFIX}{target.key.removesuffix('weight')}{kind}"
    return key if target.start is None else (key, (0, target.start, target.shape[0]))


def _weight(model: Any, adapter: Adapter) -> Tensor:
    """Return the rows that an adapter is for, as the file of the model had them, fp32."""
    target = adapter.target
    key = _PREFIX + target.key
    kept = model.backup.get(key)
    weight = comfy.utils.get_attr(model.model, key) if kept is None else kept.weight
    start = target.start or 0
    rows: Tensor = weight.detach()[start : start + target.shape[0]]
    return rows.to("cpu", torch.float32)


def _report(file: LoraFile, alphas: list[Alpha]) -> str:
    kinds = dict.fromkeys(adapter.kind for adapter in file.adapters)
    if any("magnitude" in adapter.parts for adapter in file.adapters):
        kinds["DoRA"] = None
    ranks = sorted({adapter.rank for adapter in file.adapters if adapter.rank})
    values = sorted({alpha.value for alpha in alphas})
    sources = dict.fromkeys(alpha.source for alpha in alphas)
    lines = [
        f"{file.name}: {' and '.join(kinds)}, named as {', '.join(file.styles)}",
        f"{len(file.adapters)} of {file.total} modules, rank {_range(ranks)}, "
        f"alpha {_range(values)} from {', '.join(sources)}",
    ]
    if file.settings.unread:
        lines.append(f"{file.settings.unread} could not be read, and counts as not there.")
    if any(alpha.source.startswith("nothing") for alpha in alphas):
        lines.append(
            f"The file does not say its alpha; {PEFT_ALPHA:g}, which PixArt's own scripts left at "
            "PEFT's default, was taken. Put it into a folder of its own with adapter_config.json, "
            "or set Alpha."
        )
    if file.unmatched:
        lines.append(f"Not for this model: {some(file.unmatched, 5)}")
    if file.text_encoder:
        lines.append(f"{file.text_encoder} tensors are for a text encoder, and were left out.")
    return "\n".join(lines)


def _range(values: list[Any]) -> str:
    if not values:
        return "none"
    ends = [values[0]] if len(values) == 1 else [values[0], values[-1]]
    return " to ".join(f"{value:g}" for value in ends)
