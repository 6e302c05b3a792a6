"""What of our network each name in a LoRA file means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..checkpoint.layouts import Shape, diffusers_names


@dataclass(frozen=True)
class Target:
    """A weight of the network, or some of its rows."""

    key: str
    """The weight's name."""
    shape: Shape
    """Of those rows."""
    start: int | None = None
    """The first row; None where it is the whole weight."""


def targets_of(shapes: Mapping[str, Shape]) -> dict[str, Target]:
    """Return the targets by every name trainers have for them, for the shapes of all tensors.

    Each has its name in PixArt's own layout and in diffusers' (there the rows of a stacked weight
    have names of their own), with dots and, as kohya's scripts write it, with underscores.
    """
    found: dict[str, Target] = {}
    for key, shape in shapes.items():
        if not key.endswith(".weight") or len(shape) < 2:
            continue
        found[key.removesuffix(".weight")] = Target(key, shape)
        names = diffusers_names(key)
        rows = shape[0] // len(names)
        for place, name in enumerate(names):
            start = None if len(names) == 1 else place * rows
            target = Target(key, (rows, *shape[1:]), start)
            found.setdefault(name.removesuffix(".weight"), target)
    return found | {name.replace(".", "_"): target for name, target in found.items()}
