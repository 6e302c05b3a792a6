"""Whether a picture is one: numbers that tell it from noise, a grey field and burnt colours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from demo.scenes import COLOURS

_LEAST_CONTRAST = 8.0
_MOST_CLIPPED = 0.6
_LEAST_SMOOTHNESS = 0.6
_LEAST_SHARE = 0.02
_LATENT_SPREAD = (0.2, 4.0)
_NEAR = 120.0
"""Most distance from a colour's middle, of 442 from black to white, at which a pixel has it."""


@dataclass(frozen=True)
class Statistics:
    """What a picture is judged by."""

    mean: float
    """Of all channels, 0 to 255."""
    contrast: float
    """Standard deviation of the channels, root mean square of the three."""
    smoothness: float
    """Correlation of neighbouring pixels: about 0 in noise, above 0.9 in pictures."""
    clipped: float
    """Share of pixels with every channel at an end of its range."""


def statistics_of(picture: Image.Image) -> Statistics:
    """Return the statistics of a picture."""
    pixels = np.asarray(picture.convert("RGB"), np.float64)
    contrast = float(pixels.var((0, 1)).mean() ** 0.5)
    ends = ((pixels <= 1) | (pixels >= 254)).all(-1)
    return Statistics(float(pixels.mean()), contrast, _smoothness(pixels), float(ends.mean()))


def faults_of(
    picture: Image.Image, latent: Tensor, scale: float, colours: tuple[str, ...] = ()
) -> list[str]:
    """Say what speaks against a picture and its latent; ``scale`` is from it to the model's."""
    return [*_latent_faults(latent * scale), *_picture_faults(picture, colours)]


def _latent_faults(latent: Tensor) -> Iterator[str]:
    if not bool(latent.isfinite().all()):
        yield "the latent is not finite"
        return
    spread, (least, most) = float(latent.std()), _LATENT_SPREAD
    if not least <= spread <= most:
        yield f"the latent's deviation is {spread:.2f}, expected {least} to {most}"


def _picture_faults(picture: Image.Image, colours: tuple[str, ...]) -> Iterator[str]:
    found = statistics_of(picture)
    if found.contrast < _LEAST_CONTRAST:
        yield f"hardly any contrast ({found.contrast:.1f})"
    if found.smoothness < _LEAST_SMOOTHNESS:
        yield f"noise: neighbouring pixels correlate by {found.smoothness:.2f}"
    # The named colours lie at the ends of the range themselves.
    if not colours and found.clipped > _MOST_CLIPPED:
        yield f"burnt: {found.clipped:.0%} of the pixels are at the end of the range"
    for colour in colours:
        if (share := share_of_colour(picture, colour)) < _LEAST_SHARE:
            yield f"hardly any {colour} ({share:.1%})"


def share_of_colour(picture: Image.Image, colour: str) -> float:
    """Return the share of pixels that have one of the demo's colours."""
    pixels = np.asarray(picture.convert("RGB"), np.float64)
    near = np.linalg.norm(pixels - np.array(COLOURS[colour], np.float64), axis=-1) < _NEAR
    return float(near.mean())


def _smoothness(pixels: NDArray[np.float64]) -> float:
    """Return the correlation of neighbours, of all channels, along both sides."""
    centred = pixels - pixels.mean((0, 1))
    power = (centred**2).mean()
    if power == 0:
        return 1.0
    along = (centred[:, 1:] * centred[:, :-1]).mean() + (centred[1:] * centred[:-1]).mean()
    return float(along / 2 / power)
