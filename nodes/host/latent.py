"""Empty latents, and the sizes that can be cut into patches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import comfy.model_management
import torch

from ...pixart_core.errors import SamplingError
from ...pixart_core.resolution import EXACT, NEAREST, SIZINGS, Size, Wish, choose_size, sizing_error
from .model import require_pixart

SIDE_STEP = 16
"""Pixels to a token: 8 to a latent pixel, 2 latent pixels to a patch."""

LONGEST_SIDE = 8192
MOST_IN_BATCH = 4096

TABLES = {"auto": None, "256": 256, "512": 512, "1024": 1024, "2K": 2048}
"""Names of the tables of trained sizes; with "auto" the model's, or the one of nearest size."""
RATIOS = {"33 tested": True, "40 trained": False}
"""How many of the trained ratios the nearest one is looked for among."""

_LATENT_CHANNELS = 4
_PIXELS = 8


def size_of(wish: Wish, table: str, model: Any, image: Any) -> Size:
    """Return the size for a wish, with the table of a MODEL and the shape of an IMAGE, if any.

    Raises SamplingError for an exact size out of step and for an image that is missing or wanted
    and empty.
    """
    side = TABLES[table] or (None if model is None else _trained_side(model))
    picture = None if image is None else (image.shape[2], image.shape[1])
    return size_for(replace(wish, table=side, picture=picture))


def size_for(wish: Wish) -> Size:
    """Return the size for a wish; raise SamplingError as `size_of` does."""
    check_wish(wish.sizing, wish.width, wish.height)
    size = choose_size(wish)
    check_sides(width=size.width, height=size.height)
    return size


def _trained_side(model: Any) -> int:
    failed = "The trained sizes cannot be taken from this model"
    found = require_pixart(model.model, failed, "or set Table and leave this empty.")
    return found.variant.sample_size


def empty_latent(width: int, height: int, batch_size: int) -> dict[str, Any]:
    """Return an empty LATENT of a size in pixels; raise SamplingError for a size out of step."""
    check_sides(width=width, height=height)
    shape = (batch_size, _LATENT_CHANNELS, height // _PIXELS, width // _PIXELS)
    return {"samples": torch.zeros(shape, device=comfy.model_management.intermediate_device())}


def with_size(conditioning: Any, width: int, height: int) -> Any:
    """Return a copy of a CONDITIONING that says another picture size, in pixels."""
    sizes = {"width": width, "height": height}
    return [[embedding, {**extra, **sizes}] for embedding, extra in conditioning]


def check_wish(sizing: str, width: int | None, height: int | None) -> None:
    """Raise SamplingError for a width or height that ``sizing`` cannot use.

    What is None (linked, so not known yet) is passed over.
    """
    if sizing not in SIZINGS:
        raise sizing_error(sizing)
    if sizing == EXACT:
        check_sides(width=width, height=height)
    elif sizing == NEAREST:
        for name, side in (("width", width), ("height", height)):
            if side is not None and not SIDE_STEP <= side <= LONGEST_SIDE:
                raise _size_error(
                    name, side, "a number", SIDE_STEP if side < SIDE_STEP else LONGEST_SIDE
                )


def check_sides(**sides: int | None) -> None:
    """Raise SamplingError for a side in pixels that cannot be cut into patches.

    A side that is None (linked, so not known yet) is passed over.
    """
    for name, side in sides.items():
        if side is None:
            continue
        nearest = min(max(round(side / SIDE_STEP), 1) * SIDE_STEP, LONGEST_SIDE)
        if side != nearest:
            raise _size_error(name, side, f"a multiple of {SIDE_STEP}", nearest)


def _size_error(name: str, side: int, kind: str, nearest: int) -> SamplingError:
    return SamplingError(
        "The picture cannot have this size",
        found=f"a {name} of {side}",
        expected=f"{kind} from {SIDE_STEP} to {LONGEST_SIDE}",
        advice=f"Set it to {nearest}.",
    )
