"""What the denoiser draws itself, beside what it was asked for: what it is to mend."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from .captions import Captioner, pad_rows
from .denoiser import Course, Pair, course
from .recipe import PictureSet
from .scenes import Scene, random_scene
from .vae import latents_of

_AT_ONCE = 25
"""Pictures drawn in one batch."""


@dataclass(frozen=True)
class Drawn:
    """Pictures of one size."""

    scenes: list[Scene]
    course: Course
    """How they were drawn."""
    right: Tensor
    """Latents as they should be, (N, 4, h, w)."""


def draw_sets(
    pair: Pair, captioner: Captioner, sets: Sequence[PictureSet], rng: random.Random
) -> list[Drawn]:
    """Draw scenes from their captions, as the sampler does it in use."""
    return [_draw(pair, captioner, part, rng) for part in tqdm(sets, desc="drawn by the model")]


def _draw(pair: Pair, captioner: Captioner, part: PictureSet, rng: random.Random) -> Drawn:
    scenes = [random_scene(rng) for _ in range(part.count)]
    rows = [captioner.tokenizer(scene.caption())["input_ids"] for scene in scenes]
    empty = captioner.tokenizer("")["input_ids"]
    size = (part.width, part.height)
    parts = [
        course(pair, *pad_rows([*rows[at : at + _AT_ONCE], empty]), size, seed=rng.getrandbits(31))
        for at in range(0, len(rows), _AT_ONCE)
    ]
    drawn = Course(
        torch.cat([own.states for own in parts]),
        parts[0].timesteps,
        torch.cat([own.end for own in parts]),
    )
    return Drawn(scenes, drawn, latents_of(scenes, *size).float())
