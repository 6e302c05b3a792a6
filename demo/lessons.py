"""Batches for the denoiser: what is asked, what shows through the noise, and what is right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from .captions import Captioner
from .recipe import Lesson, PictureSize, Stage
from .scenes import SHAPES, SIZES, Scene, random_scene
from .stencils import Stencils

_ALPHAS = DPMSolverMultistepScheduler(
    beta_start=1e-4, beta_end=0.02, beta_schedule="linear"
).alphas_cumprod
_STRONGEST = 1.5
"""Most that a picture's difference from another is overdone."""
_MILDEST = 0.7
"""The same where no words say what is meant."""
_UNDECIDED = 3
"""Of how many pictures one is the mean that shows no shape yet."""
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
    """What has to be taken off for the right picture to be left."""
    alphas: Tensor
    """Of the timesteps, (N, 1, 1, 1)."""
    ids: Tensor
    mask: Tensor
    covered: Tensor
    """How much of each latent pixel the shape covers, (N, 1, h, w)."""
    contested: Tensor
    """1 where shapes differ, (N, 1, h, w)."""

    def to(self, device: torch.device) -> Batch:
        """Return it on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


class Lessons:
    """Makes batches from stencils of every size that is taught."""

    def __init__(self, seed: int, captioner: Captioner) -> None:
        self.captioner = captioner
        self.rng = random.Random(f"lessons {seed}")
        self._stencils: dict[PictureSize, Stencils] = {}

    def stencils(self, size: PictureSize) -> Stencils:
        """Return the stencils of a size, drawn when they are first asked for."""
        if size not in self._stencils:
            self._stencils[size] = Stencils(size.width, size.height)
        return self._stencils[size]

    def batch(self, stage: Stage, lesson: Lesson, size: PictureSize) -> Batch:
        """Return a batch of new scenes of one of the lesson's sizes."""
        count = lesson.batch
        stencils = self.stencils(size)
        scenes = [random_scene(self.rng) for _ in range(count)]
        ids, mask, complete = self._captions(stage, scenes, everything=lesson.is_complete)
        kept = [self.rng.random() < stage.kept for _ in scenes]
        # Only what is seen and right is another scene; the caption stays.
        scenes = [
            random_scene(self.rng) if keep else scene
            for keep, scene in zip(kept, scenes, strict=True)
        ]
        free = ~torch.tensor(kept)
        right = stencils.latents(scenes)
        low, high = (
            torch.where(free, end, late)
            for end, late in zip(stage.timesteps, _LAST_TIMESTEPS, strict=True)
        )
        timesteps = (low + (high - low) * torch.rand(count)).long()
        alphas = alphas_of(timesteps)
        other = stencils.latents(self._others(scenes))
        seen = self._seen(stage, right, other, self._undecided(stencils, scenes), complete & free)
        # No farther from the right picture than the noise is strong: what is left of a picture
        # at the end of the steps cannot be another one.
        reach = ((1 - alphas) / alphas).sqrt().clamp(max=1)
        noisy = alphas.sqrt() * (right + reach * (seen - right))
        noisy = noisy + (1 - alphas).sqrt() * torch.randn_like(right)
        hidden = (torch.rand(count) < stage.hidden) & free
        noisy = torch.where(hidden[:, None, None, None], 0.0, noisy)
        noise = (noisy - alphas.sqrt() * right) / (1 - alphas).sqrt()
        return Batch(
            noisy,
            timesteps,
            noise,
            alphas,
            ids,
            mask,
            stencils.covered(scenes),
            stencils.contested(scenes),
        )

    def _captions(
        self, stage: Stage, scenes: Sequence[Scene], *, everything: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return token ids, mask, and whether each caption names everything."""
        drawn = [1.0 if everything else self.rng.random() for _ in scenes]
        empty = [number < stage.empty for number in drawn]
        partial = [number < stage.empty + stage.partial for number in drawn]
        rows = [
            () if nothing else self.captioner.caption(scene, some).tokens
            for scene, nothing, some in zip(scenes, empty, partial, strict=True)
        ]
        ids, mask = self.captioner.pad(rows)
        return ids, mask, ~torch.tensor(partial)

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

    def _undecided(self, stencils: Stencils, scenes: Sequence[Scene]) -> Tensor:
        """Return the mean of some scenes that share place and colours with these."""
        sizes = list(SIZES)
        parts = [
            [
                replace(scene, shape=self.rng.choice(SHAPES), size=self.rng.choice(sizes))
                for scene in scenes
            ]
            for _ in range(_UNDECIDED)
        ]
        return torch.stack([stencils.latents(part) for part in parts]).mean(0)

    def _seen(
        self, stage: Stage, right: Tensor, other: Tensor, undecided: Tensor, complete: Tensor
    ) -> Tensor:
        """Return what shows through the noise: the right picture, too much of it, or another.

        Guidance overdoes what separates two predictions, and in use the denoiser goes on from that.
        With a caption that names everything it can know better; without, it must not be misled far,
        but come from what is not decided yet to what is nearest.
        """
        kind, amount, chance = torch.rand(3, len(right), 1, 1, 1)
        overdone = right + _STRONGEST * amount * (right - other)
        between = right + amount * (other - right)
        misleading = torch.where(
            kind < 0.4, overdone, torch.where(kind < 0.8, between, right * (1 - amount))
        )
        mild = torch.where(
            kind < 0.3,
            right + _MILDEST * amount * (right - other),
            torch.where(
                kind < 0.8,
                right + _MILDEST * amount * (undecided - right),
                right * (1 - amount / 2),
            ),
        )
        known = complete[:, None, None, None]
        changed = torch.where(known, misleading, mild)
        share = torch.where(known, stage.misled, stage.overdone)
        return torch.where(chance < share, changed, right)
