"""A PixArt model opened: what it is, and its tensors in original layout, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from ..errors import CheckpointError
from ..network.config import KVCompression
from .completeness import GRIDS, Completeness, check_complete, compare, wanted_shapes
from .detect import AUTO, CheckpointInfo, detect
from .layouts import Plan, is_diffusers, is_original, original_plan, original_shapes, stacked
from .reading import Checkpoint, read_checkpoint, shapes_of
from .signs import read_signs

Layout = Literal["original", "diffusers"]


@dataclass(frozen=True)
class OpenedModel:
    """A checkpoint that is a PixArt model; its tensors are not read yet where they are mapped."""

    checkpoint: Checkpoint
    layout: Layout
    plan: Plan
    info: CheckpointInfo

    @property
    def name(self) -> str:
        """What users know the file or folder by."""
        return self.checkpoint.source.name

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user may care for: what was left out, and what speaks against the variant."""
        contrary = [
            f"{who} of {_in_words(family, side)}."
            for who, family, side in self._claims()
            if family not in (None, self.info.variant.family)
            or side not in (None, self.info.variant.sample_size)
        ]
        return (*self.checkpoint.notices, *contrary)

    def _claims(self) -> Iterator[tuple[str, str | None, int | None]]:
        signs, hints = read_signs(self.name), self.checkpoint.hints
        yield "Its name speaks", signs.family, signs.side
        if hints.name is None:
            yield "The configuration beside it speaks", hints.family, hints.sample_size

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor in original layout, position grids left out."""
        shapes = original_shapes(shapes_of(self.checkpoint.tensors), self.plan)
        return {key: shape for key, shape in shapes.items() if key not in GRIDS}

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the tensors in original layout; what is stacked lives only as long as needed."""
        for key, parts in self.plan.items():
            if key not in GRIDS:
                yield key, stacked(self.checkpoint.tensors, parts)

    def completeness(self) -> Completeness:
        """Return what is missing, unexpected or misshapen."""
        return compare(self.shapes, wanted_shapes(self.info.network))

    def has_weights(self) -> bool:
        """Whether all tensors hold real numbers with a point, as no quantised file does."""
        return all(tensor.is_floating_point() for tensor in self.checkpoint.tensors.values())

    def check_complete(self) -> None:
        """Raise CheckpointError unless nothing is missing, unexpected or misshapen."""
        check_complete(self.shapes, wanted_shapes(self.info.network), "PixArt model")


def _in_words(family: str | None, side: int | None) -> str:
    return " ".join(filter(None, [family, f"{side} px" if side else None]))


def open_model(
    path: Path, chosen: str = AUTO, compression: KVCompression | None = None
) -> OpenedModel:
    """Open a model file or diffusers folder and tell what it is.

    ``chosen`` names a variant, ``compression`` what the tensors cannot show. Raises
    CheckpointError where it is no PixArt model, or the choice does not fit it.
    """
    checkpoint = read_checkpoint(path)
    names = checkpoint.tensors
    if is_diffusers(names) and is_original(names):
        raise CheckpointError(
            f"{checkpoint.source.name} cannot be loaded",
            found="tensors under diffusers' names and under PixArt's own",
            expected="one of both",
            advice="Use the file that it was made from, or convert that one again.",
        )
    layout: Layout = "diffusers" if is_diffusers(names) else "original"
    as_it_is: Plan = {key: (key,) for key in names}
    plan = original_plan(names) if layout == "diffusers" else as_it_is
    info = detect(shapes_of(names), checkpoint.source.words, chosen, checkpoint.hints, compression)
    return OpenedModel(checkpoint, layout, plan, info)
