"""Batches for the denoiser: what is asked, what shows through the noise, and what is right then."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from .captions import NO_WORDS, Caption, Captioner
from .expectation import Expectation, Posterior, log_prior
from .recipe import Lesson, PictureSize, Stage
from .scenes import ATTRIBUTES, Scene, random_scene, settled
from .stencils import Stencils

_ALPHAS = DPMSolverMultistepScheduler(
    beta_start=1e-4, beta_end=0.02, beta_schedule="linear"
).alphas_cumprod
_STRONGEST = 1.5
"""Most that a picture's difference from another is overdone."""
_MILDEST = 0.7
"""The same where no words say what is meant."""
_LAST_TIMESTEPS = (0, 60)
"""The timesteps in which a picture that shows is kept where a stage asks for that: the first, and
the one after the last."""


def alphas_of(timesteps: Tensor) -> Tensor:
    """Return the share of a picture's variance in its noisy latents, (N,) to (N, 1, 1, 1)."""
    return _ALPHAS[timesteps][:, None, None, None]


@dataclass(frozen=True)
class Batch:
    """Noisy latents of one size with their captions, all (N, ...)."""

    noisy: Tensor
    timesteps: Tensor
    noise: Tensor
    """What has to be taken off for what is expected to be left."""
    alphas: Tensor
    """Of the timesteps, (N, 1, 1, 1)."""
    ids: Tensor
    mask: Tensor
    covered: Tensor
    """How much of each latent pixel a shape is expected to cover, (N, 1, h, w)."""
    contested: Tensor
    """How likely it is that shapes differ there, (N, 1, h, w)."""

    def to(self, device: torch.device) -> Batch:
        """Return it on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


class Lessons:
    """Makes batches from stencils of every size that is taught."""

    def __init__(self, seed: int, captioner: Captioner) -> None:
        self.captioner = captioner
        self.rng = random.Random(f"lessons {seed}")
        self._stencils: dict[PictureSize, Stencils] = {}
        self._posteriors: dict[PictureSize, Posterior] = {}

    def stencils(self, size: PictureSize) -> Stencils:
        """Return the stencils of a size, drawn when they are first asked for."""
        if size not in self._stencils:
            self._stencils[size] = Stencils(size.width, size.height)
        return self._stencils[size]

    def posterior(self, size: PictureSize) -> Posterior:
        """Return how likely scenes are at a size, made when it is first asked for."""
        if size not in self._posteriors:
            self._posteriors[size] = Posterior(self.stencils(size))
        return self._posteriors[size]

    def expectation(
        self, size: PictureSize, noisy: Tensor, alphas: Tensor, named: Sequence[Mapping[str, str]]
    ) -> Expectation:
        """Return what is to be expected behind noisy latents, by what the words of each name.

        (N, 4, h, w) with ``alphas`` (N, 1, 1, 1).
        """
        priors = torch.stack([log_prior(words) for words in named])
        return self.posterior(size).expectation(noisy, alphas, priors)

    def batch(self, stage: Stage, lesson: Lesson, size: PictureSize) -> Batch:
        """Return a batch of new scenes of one of the lesson's sizes."""
        count = lesson.batch
        stencils = self.stencils(size)
        scenes = [random_scene(self.rng) for _ in range(count)]
        captions = self._captions(stage, scenes, everything=lesson.is_complete)
        ids, mask = self.captioner.rows(captions)
        scenes = [
            settled(scene, caption.named, self.rng)
            for scene, caption in zip(scenes, captions, strict=True)
        ]
        kept = [self.rng.random() < stage.kept for _ in scenes]
        # Their captions are those of other scenes, and do not help to tell what is right.
        scenes = [
            random_scene(self.rng) if keep else scene
            for keep, scene in zip(kept, scenes, strict=True)
        ]
        named = [
            {} if keep else caption.named for keep, caption in zip(kept, captions, strict=True)
        ]
        free = ~torch.tensor(kept)
        low, high = (
            torch.where(free, end, late)
            for end, late in zip(stage.timesteps, _LAST_TIMESTEPS, strict=True)
        )
        timesteps = (low + (high - low) * torch.rand(count)).long()
        alphas = alphas_of(timesteps)
        shown = stencils.latents(scenes)
        complete = torch.tensor([len(words) == len(ATTRIBUTES) for words in named])
        seen = self._seen(stage, shown, stencils.latents(self._others(scenes)), complete)
        # No farther from the shown picture than the noise is strong: what is left of a picture
        # at the end of the steps cannot be another one.
        reach = ((1 - alphas) / alphas).sqrt().clamp(max=1)
        noisy = alphas.sqrt() * (shown + reach * (seen - shown))
        noisy = noisy + (1 - alphas).sqrt() * torch.randn_like(shown)
        hidden = ((torch.rand(count) < stage.hidden) & free)[:, None, None, None]
        noisy = torch.where(hidden, 0.0, noisy)
        right = self.expectation(size, noisy, torch.where(hidden, 0.0, alphas), named)
        noise = (noisy - alphas.sqrt() * right.latents) / (1 - alphas).sqrt()
        return Batch(noisy, timesteps, noise, alphas, ids, mask, right.covered, right.contested)

    def _captions(
        self, stage: Stage, scenes: Sequence[Scene], *, everything: bool
    ) -> list[Caption]:
        """Return a caption for each scene, not all of which name everything."""
        captions = []
        for scene in scenes:
            drawn = 1.0 if everything else self.rng.random()
            partial = drawn < stage.empty + stage.partial
            captions.append(
                NO_WORDS if drawn < stage.empty else self.captioner.caption(scene, partial)
            )
        return captions

    def _others(self, scenes: Sequence[Scene]) -> list[Scene]:
        """Return other scenes, which share the outline with these, or the colours, or nothing."""
        others = []
        for scene in scenes:
            other, share = random_scene(self.rng), self.rng.random()
            if share < 0.25:
                other = replace(scene, colour=other.colour, ground=other.ground)
            elif share > 0.55:
                other = replace(other, colour=scene.colour, ground=scene.ground)
            others.append(other)
        return others

    def _seen(self, stage: Stage, shown: Tensor, other: Tensor, complete: Tensor) -> Tensor:
        """Return what shows through the noise: a picture, too much of it, or another.

        Guidance overdoes what separates two predictions, and in use the denoiser goes on from that.
        With a caption that names everything it can know better; without, it must not be misled far.
        """
        kind, amount, chance = torch.rand(3, len(shown), 1, 1, 1)
        overdone = shown + _STRONGEST * amount * (shown - other)
        between = shown + amount * (other - shown)
        misleading = torch.where(
            kind < 0.4, overdone, torch.where(kind < 0.8, between, shown * (1 - amount))
        )
        mild = torch.where(
            kind < 0.5, shown + _MILDEST * amount * (shown - other), shown * (1 - amount / 2)
        )
        known = complete[:, None, None, None]
        changed = torch.where(known, misleading, mild)
        share = torch.where(known, stage.misled, stage.overdone)
        return torch.where(chance < share, changed, shown)
