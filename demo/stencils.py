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
FORMS = tuple(product(SHAPES, _SIZES, _PLACES))
"""Shape, size and place of each stencil."""


class Stencils:
    """All shapes, sizes and places at one picture size, in pixels."""

    def __init__(self, width: int, height: int) -> None:
        scenes = [
            Scene(shape, "", "", x=mean(PLACES[place]), radius=mean(SIZES[size]))
            for shape, size, place in FORMS
        ]
        self._counts = torch.stack([_counts(scene, width, height) for scene in scenes])
        self.covered = torch.einsum("skhw,k->shw", self.shares.float(), _SHARES)[:, None]
        """How much of each latent pixel a form covers, (36, 1, H / 8, W / 8)."""
        by_shape = self.covered.view(len(SHAPES), -1, *self.covered.shape[1:])
        contested = (by_shape.amax(0) - by_shape.amin(0) > _DIFFERS).float()
        self.contested = contested.repeat(len(SHAPES), 1, 1, 1)
        """1 where the four shapes differ, of a form's size and place, (36, 1, H / 8, W / 8).

        Only there can a picture be told to show the wrong shape.
        """
        self.contested_anywhere = contested.mean((0, 1))
        """Share of sizes and places at which shapes differ there, (H / 8, W / 8)."""

    @property
    def shares(self) -> Tensor:
        """How much of a latent pixel's patch is covered by so many sixteenths, of each form.

        (36, 17, H / 8, W / 8) in double, to be mixed with ``mixtures``.
        """
        return self._counts.double() / PATCH**2

    def latents(self, scenes: Sequence[Scene]) -> Tensor:
        """Return the scenes' latents, (N, 4, H / 8, W / 8)."""
        colours = torch.stack([mixtures(scene.colour, scene.ground) for scene in scenes])
        counts = self._counts[[form_of(scene) for scene in scenes]].float() / PATCH**2
        return torch.einsum("nkhw,nck->nchw", counts, colours)


def form_of(scene: Scene) -> int:
    """Return which of ``FORMS`` a scene has."""
    return FORMS.index((scene.shape, scene.size, scene.place.replace("centre", "")))


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
def mixtures(colour: str, ground: str) -> Tensor:
    """Return the latent of a patch whose pixels are all covered by so much: (4, 17)."""
    of_shape, of_ground = (
        torch.tensor(COLOURS[name], dtype=torch.float32)[:, None] / 127.5 - 1
        for name in (colour, ground)
    )
    pixels = _SHARES * of_shape + (1 - _SHARES) * of_ground
    return standardised(pixels[None, :, :, None])[0, :, :, 0]
