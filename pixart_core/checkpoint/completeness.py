"""Whether a checkpoint has just the tensors that its network needs, and none is broken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..network import NetworkConfig, PixArtTransformer
from .foreign import Shapes, some
from .reading import shapes_of

GRIDS = ("pos_embed", "pos_embed.pos_embed")
"""Position grids that a file may hold; the network makes its own, for every size."""


@dataclass(frozen=True)
class Completeness:
    """How the tensors of a file differ from those that the network needs."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing differs."""
        return not (self.missing or self.unexpected or self.misshapen)


def wanted_shapes(network: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a network, in original layout."""
    with torch.device("meta"):
        return shapes_of(PixArtTransformer(network).state_dict())


def compare(found: Shapes, wanted: Shapes) -> Completeness:
    """Compare tensors by name and shape; position grids do not count."""
    names = {key for key in found if key not in GRIDS}
    return Completeness(
        missing=tuple(sorted(set(wanted) - names)),
        unexpected=tuple(sorted(names - set(wanted))),
        misshapen=tuple(sorted(k for k in set(wanted) & names if found[k] != wanted[k])),
    )


def check_complete(found: Shapes, wanted: Shapes, kind: str) -> None:
    """Raise CheckpointError unless ``found`` has just the tensors of ``wanted``, in shape too."""
    result = compare(found, wanted)
    if result.is_complete:
        return
    differences: Iterable[tuple[str, tuple[str, ...]]] = (
        ("missing", result.missing),
        ("unknown", result.unexpected),
        ("of another shape", result.misshapen),
    )
    complaints = [f"{len(keys)} {how} ({some(keys)})" for how, keys in differences if keys]
    raise CheckpointError(
        f"The {kind} is damaged or of a kind that is not supported",
        found=f"tensors: {', '.join(complaints)}",
        expected=f"the {len(wanted)} tensors of this {kind}",
        advice="Download the file again, or choose another one.",
    )


def check_finite(key: str, tensor: Tensor) -> None:
    """Raise CheckpointError if a tensor holds anything but finite real numbers; in one pass."""
    if not tensor.is_floating_point():
        raise CheckpointError(
            "The weights of this file cannot be used",
            found=f"numbers of type {str(tensor.dtype).removeprefix('torch.')} in {key}",
            expected="weights in fp32, fp16, bf16 or fp8",
            advice="Use a file that is not quantised.",
        )
    if not tensor.numel():
        return
    # Types of one byte have no reductions; their values are few, so halves hold them exactly.
    values = tensor if tensor.element_size() > 1 else tensor.to(torch.bfloat16)
    low, high = torch.aminmax(values)
    if not (torch.isfinite(low) and torch.isfinite(high)):
        raise CheckpointError(
            "The weights of this file cannot be used",
            found=f"numbers that are not finite in {key}",
            expected="finite numbers in every tensor",
            advice="Download the file again; if it stays so, the training or conversion that made "
            "it failed.",
        )
