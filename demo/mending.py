"""The denoiser's last lesson: to mend what it has drawn itself.

In training, what shows through the noise is always right; so it learns to keep it. In use it is
what the steps before have made, guidance and all, and their errors were kept to the end. Here the
noise is put on pictures that it drew, and the right ones are what is asked for: with the caption it
knows what was meant. 700 such steps brought more than 5,000 of the others.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from .denoiser import Pictures, Trainer
from .drawn import Drawn

_SMALL_SHARE = 0.42
"""Of the steps on drawn pictures: those of the smallest size, which is the first."""
_WARM_UP = 50


def mend(
    trainer: Trainer, small: Pictures, buckets: Sequence[Pictures], drawn: Sequence[Drawn]
) -> None:
    """Train on pictures of both kinds in turn; the rate falls to zero once more."""
    recipe, rng = trainer.recipe, random.Random(f"mending {trainer.recipe.seed}")
    trainer.pair.load_state_dict(trainer.average.state_dict())
    stage = recipe.stages[-1]
    bar = tqdm(range(recipe.mending_steps), desc="mending")
    for step in bar:
        if step % 2:
            is_bucket = rng.random() < stage.bucket_share
            pictures = rng.choice(buckets) if is_bucket else small
            batch = recipe.bucket_batch if is_bucket else recipe.small_batch
            loss = trainer.loss(stage, pictures, batch)
        else:
            own = drawn[0] if rng.random() < _SMALL_SHARE else rng.choice(drawn[1:] or drawn)
            loss = _mended(trainer, own, recipe.small_batch, rng)
        left = 1 - step / recipe.mending_steps
        rate = recipe.mending_rate * min(1.0, (step + 1) / _WARM_UP) * left
        bar.set_postfix(loss=f"{trainer.learn(loss, rate, recipe.mending_ema):.3f}")


def _mended(trainer: Trainer, drawn: Drawn, batch: int, rng: random.Random) -> Tensor:
    """Return how far from right a batch of drawn pictures is, after one look through noise."""
    recipe = trainer.recipe
    chosen = rng.sample(range(len(drawn.scenes)), min(batch, len(drawn.scenes)))
    empty = max(1, len(chosen) // 3)
    scenes = [drawn.scenes[index] for index in chosen]
    ids, mask = trainer.captioner(scenes, empty)
    right = drawn.right[chosen]
    weight = recipe.contested_weight - 1
    counts = 1 + weight * Pictures(scenes, right).contested(range(len(scenes)))
    t = (recipe.mending_below * torch.rand(len(chosen))).long()
    # As in other lessons, the last rows repeat the first ones without their captions.
    right, found, noise, t, counts = (
        torch.cat([part, part[:empty]]).to(trainer.device)
        for part in (right, drawn.found[chosen], torch.randn_like(right), t, counts / counts.mean())
    )
    alpha = trainer.alphas.to(trainer.device)[t][:, None, None, None]
    noisy = alpha.sqrt() * found + (1 - alpha).sqrt() * noise
    predicted = trainer.pair(noisy, t, ids.to(trainer.device), mask.to(trainer.device))
    mended = (noisy - (1 - alpha).sqrt() * predicted) / alpha.sqrt()
    return recipe.mending_weight * (counts * (mended - right).square()).mean()
