"""What an ideal denoiser answers where words leave something open.

Training shows finitely many scenes, so the best guess behind noise is known: their mean, each
weighed by how likely it is to look like that. Learning from one of them, drawn at random, leads
there too, but more slowly, by its chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import torch
from torch import Tensor

from .scenes import COLOURS, NAMED, SEEN, SETTLED
from .stencils import FORMS, Stencils, mixtures

_COLOURINGS = tuple(permutations(COLOURS, 2))
"""Colour of the shape and of the ground."""
_SIZE, _PLACE = (NAMED * (1 - SETTLED) / words for words in (2, 3))
"""How often ``settled`` leaves a size or place that is not the middle one, each."""
_SIZE_ODDS = {"small": _SIZE, "": 1 - 2 * _SIZE, "large": _SIZE}
_PLACE_ODDS = {"left": _PLACE, "": 1 - 2 * _PLACE, "right": _PLACE}
"""No word and "centre" are the same place."""
_ODDS = torch.tensor(
    [
        [
            _SIZE_ODDS[size] * _PLACE_ODDS[place] * ((shape, *colouring) in SEEN) / len(SEEN)
            for colouring in _COLOURINGS
        ]
        for shape, size, place in FORMS
    ]
)
"""How often training shows each scene without words, (forms, colourings)."""


@dataclass(frozen=True)
class Expectation:
    """Means over the scenes that may be meant."""

    latents: Tensor
    """(N, 4, h, w)."""
    covered: Tensor
    """How much of each latent pixel a shape covers, (N, 1, h, w)."""
    contested: Tensor
    """How likely it is that shapes differ there, (N, 1, h, w)."""


class Posterior:
    """How likely scenes are at one picture size, once noisy latents were seen."""

    def __init__(self, stencils: Stencils) -> None:
        self._stencils = stencils
        # Double, for at the last steps small differences are divided by a small variance.
        self._mixtures = torch.stack([mixtures(*pair) for pair in _COLOURINGS]).double()
        alike = torch.einsum("skhw,slhw->skl", stencils.shares, stencils.shares)
        self._squares = torch.einsum("skl,pck,pcl->sp", alike, self._mixtures, self._mixtures)

    def expectation(self, noisy: Tensor, alphas: Tensor, log_priors: Tensor) -> Expectation:
        """Return what is expected behind noisy latents (N, 4, h, w).

        ``alphas``, (N, 1, 1, 1), at least 0, where nothing shows, and less than 1;
        ``log_priors`` are those of ``log_prior``, (N, forms, colourings).
        """
        logits = self._logits(noisy, alphas, log_priors)
        weights = logits.flatten(1).softmax(1).view_as(logits)
        mixed = torch.einsum("nsp,pck->nskc", weights, self._mixtures)
        forms = weights.sum(2).float()
        return Expectation(
            torch.einsum("nskc,skhw->nchw", mixed, self._stencils.shares).float(),
            torch.einsum("ns,sihw->nihw", forms, self._stencils.covered),
            torch.einsum("ns,sihw->nihw", forms, self._stencils.contested),
        )

    def _logits(self, noisy: Tensor, alphas: Tensor, log_priors: Tensor) -> Tensor:
        """Return the logarithm of how likely each scene is, less what is the same for all."""
        alphas = alphas.view(-1, 1, 1).double()
        found = torch.einsum("skhw,nchw->nskc", self._stencils.shares, noisy.double())
        alike = torch.einsum("nskc,pck->nsp", found, self._mixtures)
        return (alphas.sqrt() * alike - alphas * self._squares / 2) / (1 - alphas) + log_priors


def log_prior(named: Mapping[str, str]) -> Tensor:
    """Return the logarithm of how often training shows each scene, if it fits what words name.

    (forms, colourings). Raises ValueError where there is no such scene.
    """
    return _log_prior(tuple(sorted(named.items())))


@lru_cache(maxsize=4096)
def _log_prior(named: tuple[tuple[str, str], ...]) -> Tensor:
    wanted = {name: value.replace("centre", "") for name, value in named}
    forms = _fitting(wanted, ("shape", "size", "place"), FORMS)
    colourings = _fitting(wanted, ("colour", "ground"), _COLOURINGS)
    odds = _ODDS * forms[:, None] * colourings
    if not odds.any():
        raise ValueError(
            f"Could not tell what to expect: found the words {dict(named)}, expected those of a "
            f"scene that training shows; name one of demo.scenes.SEEN."
        )
    return odds.log()


def _fitting(
    wanted: Mapping[str, str], names: Sequence[str], choices: Sequence[Sequence[str]]
) -> Tensor:
    """Return 1 for each choice whose named attributes are those that are wanted, else 0."""
    return torch.tensor(
        [
            all(wanted.get(name, value) == value for name, value in zip(names, choice, strict=True))
            for choice in choices
        ]
    ).float()
