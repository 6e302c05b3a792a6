"""What is wrapped around a model's tensors in files of different origin, and its removal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

_WRAPPERS = ("state_dict", "state_dict_ema", "model", "module", "ema", "params_ema")
"""Keys under which training scripts keep the tensors; the first one is what loaders take."""

_DEEPEST = 4
"""Containers within containers that are looked into; real files have two."""

_CONTROL = "base_model."

_PREFIXES = (
    "model.diffusion_model.",
    "diffusion_model.",
    _CONTROL,
    "model.",
    "module.",
    "transformer.",
)
"""What ComfyUI, ControlNet files, DDP and DiffEngine put before the names."""

_MARKS = ("t_block.1.weight", "adaln_single.linear.weight", "adaln_single.linear.bias")
"""Tensors by which a transformer is found behind a prefix."""


@dataclass(frozen=True)
class Unwrapped:
    """The tensors of a transformer, and what was left out that a user may care for."""

    tensors: dict[str, Tensor]
    notices: tuple[str, ...] = ()


def tensors_in(content: Any) -> dict[str, Tensor]:
    """Return the tensors of an unpickled file, by name; empty where it holds none.

    A plain ``state_dict`` is preferred to its average, as PixArt's own scripts do.
    """
    for _ in range(_DEEPEST):
        if not isinstance(content, Mapping):
            return {}
        inner = next((content[key] for key in _WRAPPERS if _holds_names(content.get(key))), None)
        if inner is None:
            break
        content = inner
    return {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }


def _holds_names(value: Any) -> bool:
    """Whether tensors lie in a container, or in another one inside it."""
    return isinstance(value, Mapping) and (
        any(isinstance(inner, Tensor) for inner in value.values())
        or any(isinstance(value.get(key), Mapping) for key in _WRAPPERS)
    )


def without_prefix(tensors: Mapping[str, Tensor]) -> Unwrapped:
    """Take off what stands before the names of a transformer, and leave out what is not its own.

    Prefixes may stand before each other. Without a transformer all tensors are returned.
    """
    notices: list[str] = []
    kept = dict(tensors)
    while not any(mark in kept for mark in _MARKS):
        prefix = _prefix_of(kept)
        if prefix is None:
            return Unwrapped(dict(tensors))
        if prefix == _CONTROL:
            notices.append("It is a ControlNet; only the model inside it is used here.")
        kept = {
            key.removeprefix(prefix): value for key, value in kept.items() if key.startswith(prefix)
        }
    return Unwrapped(kept, tuple(notices))


def _prefix_of(tensors: Mapping[str, Tensor]) -> str | None:
    marked = [key for key in tensors if key.endswith(_MARKS)]
    found = [prefix for prefix in _PREFIXES if any(key.startswith(prefix) for key in marked)]
    return found[0] if found else None
