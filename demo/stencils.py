"""What each shape covers, from which latents of any scene are mixed without drawing it again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from statistics import mean

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .scenes import COLOURS, PLACES, SHAPES, SIZES, Scene, outline_of
from .vae import PATCH, standardised

_OVERSAMPLING = 4
_SHARES = torch.linspace(0, 1, _OVERSAMPLING**2 + 1)
"""How much of a pixel may be covered."""
_DIFFERS = 0.1
"""Least difference of two shapes in the share of a latent's patch that they cover."""
_SIZES, _PLACES = list(SIZES), ["left", "", "right"]
KINDS = tuple(product(_SIZES, _PLACES))
"""The sizes and places of which there are stencils, each of every shape."""


class Stencils:
    """All shapes, sizes and places at one picture size, in pixels."""

    def __init__(self, width: int, height: int) -> None:
        scenes = [
            Scene(shape, "", "", x=mean(PLACES[place]), radius=mean(SIZES[size]))
            for shape in SHAPES
            for size, place in KINDS
        ]
        self._counts = torch.stack([_counts(scene, width, height) for scene in scenes])
        covered = self._covered(self._counts).view(len(SHAPES), -1, 1, *self._counts.shape[-2:])
        self._contested = (covered.amax(0) - covered.amin(0) > _DIFFERS).float()
        self.contested_anywhere = self._contested.mean((0, 1))
        """Share of sizes and places at which shapes differ there, (H / 8, W / 8)."""

    def latents(self, scenes: Sequence[Scene]) -> Tensor:
        """Return the scenes' latents, (N, 4, H / 8, W / 8)."""
        colours = torch.stack([_mixtures(scene.colour, scene.ground) for scene in scenes])
        counts = self._counts[[_index(scene) for scene in scenes]].float() / PATCH**2
        return torch.einsum("nkhw,nck->nchw", counts, colours)

    def covered(self, scenes: Sequence[Scene]) -> Tensor:
        """Return how much of each latent pixel the shape covers, (N, 1, H / 8, W / 8)."""
        return self._covered(self._counts[[_index(scene) for scene in scenes]])[:, None]

    def contested(self, scenes: Sequence[Scene]) -> Tensor:
        """Return 1 where the four shapes differ, of a scene's size and place, else 0.

        Only there can a picture be told to show the wrong shape: (N, 1, H / 8, W / 8).
        """
        return self._contested[[_index(scene) % len(self._contested) for scene in scenes]]

    @staticmethod
    def _covered(counts: Tensor) -> Tensor:
        return torch.einsum("nkhw,k->nhw", counts.float() / PATCH**2, _SHARES)


def _index(scene: Scene) -> int:
    size, place = _SIZES.index(scene.size), scene.place.replace("centre", "")
    return (SHAPES.index(scene.shape) * len(_SIZES) + size) * len(_PLACES) + _PLACES.index(place)


def _counts(scene: Scene, width: int, height: int) -> Tensor:
    """Return how many pixels of each patch are covered by so many sixteenths: (17, h, w)."""
    large = (width * _OVERSAMPLING, height * _OVERSAMPLING)
    image = Image.new("L", large)
    ImageDraw.Draw(image).polygon(outline_of(scene, *large), fill=255)
    covered = np.asarray(image.resize((width, height), Image.Resampling.BOX), dtype=np.float32)
    shares = np.rint(covered / 255 * (len(_SHARES) - 1)).astype(np.uint8)
    patches = shares.reshape(height // PATCH, PATCH, width // PATCH, PATCH)
    return torch.stack(
        [torch.from_numpy((patches == k).sum((1, 3), dtype=np.uint8)) for k in range(len(_SHARES))]
    )


@cache
def _mixtures(colour: str, ground: str) -> Tensor:
    """Return the latent of a patch whose pixels are all covered by so much: (4, 17)."""
    of_shape, of_ground = (
        torch.tensor(COLOURS[name], dtype=torch.float32)[:, None] / 127.5 - 1
        for name in (colour, ground)
    )
    pixels = _SHARES * of_shape + (1 - _SHARES) * of_ground
    return standardised(pixels[None, :, :, None])[0, :, :, 0]
