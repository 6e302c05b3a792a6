"""Empty latents, and the sizes that can be cut into patches."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import torch

from ...pixart_core.errors import SamplingError

SIDE_STEP = 16
"""Pixels to a token: 8 to a latent pixel, 2 latent pixels to a patch."""

LONGEST_SIDE = 8192
MOST_IN_BATCH = 4096

_LATENT_CHANNELS = 4
_PIXELS = 8


def empty_latent(width: int, height: int, batch_size: int) -> dict[str, Any]:
    """Return an empty LATENT of a size in pixels; raise SamplingError for a size out of step."""
    check_sides(width=width, height=height)
    shape = (batch_size, _LATENT_CHANNELS, height // _PIXELS, width // _PIXELS)
    return {"samples": torch.zeros(shape, device=comfy.model_management.intermediate_device())}


def check_sides(**sides: int | None) -> None:
    """Raise SamplingError for a side in pixels that cannot be cut into patches.

    A side that is None (linked, so not known yet) is passed over.
    """
    for name, side in sides.items():
        if side is None:
            continue
        nearest = min(max(round(side / SIDE_STEP), 1) * SIDE_STEP, LONGEST_SIDE)
        if side != nearest:
            raise SamplingError(
                "The picture cannot have this size",
                found=f"a {name} of {side}",
                expected=f"a multiple of {SIDE_STEP} from {SIDE_STEP} to {LONGEST_SIDE}",
                advice=f"Set it to {nearest}.",
            )
