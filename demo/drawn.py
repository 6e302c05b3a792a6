"""What the denoiser draws itself, beside what it was asked for: what the last lessons are about."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from .captions import Captioner, pad_rows
from .denoiser import Pair, sample
from .recipe import PictureSet
from .scenes import Scene, random_scene
from .vae import latents_of

_AT_ONCE = 25
"""Pictures drawn in one batch."""


@dataclass(frozen=True)
class Drawn:
    """Pictures of one size."""

    scenes: list[Scene]
    found: Tensor
    """Latents as they were drawn, (N, 4, h, w)."""
    right: Tensor
    """As they should be."""


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
    found = [
        sample(pair, *pad_rows([*rows[at : at + _AT_ONCE], empty]), size, seed=rng.getrandbits(31))
        for at in range(0, len(rows), _AT_ONCE)
    ]
    return Drawn(scenes, torch.cat(found), latents_of(scenes, *size).float())
