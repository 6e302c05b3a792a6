"""The denoiser's last lesson: to mend what it has drawn itself.

In training, what shows through the noise is always right; so it learns to keep it. In use it is
what the steps before have made, and their errors were kept to the end; guidance multiplied them,
for what it adds is the difference of two predictions, both in error. Here the denoiser is shown
what a sampler really went through, and both predictions and above all what guidance makes of them
should be the right picture: with the caption it knows what was meant. What it draws changes as it
learns, so it draws anew for every round.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from .denoiser import Pictures, Trainer
from .drawn import Drawn
from .recipe import GUIDANCE

_SMALL_SHARE = 0.4
"""Of the steps: those of the smallest size."""
_WARM_UP = 50
_CLEAR = 4.0
"""Signal to noise is weighed by this, up to 1: the noisier, the less is decided by then."""


def mend(
    trainer: Trainer,
    small: Pictures,
    buckets: Sequence[Pictures],
    draw: Callable[[], Sequence[Drawn]],
    look: Callable[[int], None],
) -> None:
    """Train on pictures of both kinds in turn, while the rate falls to zero once more.

    ``draw`` is called before each round, for what the average draws then; ``look`` after it, with
    the steps so far.
    """
    recipe, rng = trainer.recipe, random.Random(f"mending {trainer.recipe.seed}")
    trainer.pair.load_state_dict(trainer.average.state_dict())
    rounds: list[Sequence[Drawn]] = []
    for start in range(0, recipe.mending_steps, recipe.mending_round):
        rounds.append(draw())
        steps = range(start, min(start + recipe.mending_round, recipe.mending_steps))
        bar = tqdm(steps, desc="mending", initial=start, total=recipe.mending_steps)
        for step in bar:
            drawn = rng.choice(rounds) if step % 2 == 0 else ()
            loss = _loss(trainer, small, buckets, drawn, rng)
            left = 1 - step / recipe.mending_steps
            rate = recipe.mending_rate * min(1.0, (step + 1) / _WARM_UP) * left
            bar.set_postfix(loss=f"{trainer.learn(loss, rate, recipe.mending_ema):.3f}")
        look(steps.stop)


def _loss(
    trainer: Trainer,
    small: Pictures,
    buckets: Sequence[Pictures],
    drawn: Sequence[Drawn],
    rng: random.Random,
) -> Tensor:
    """Return a step's loss: on drawn pictures where there are any, else as in training."""
    recipe = trainer.recipe
    is_small = rng.random() < _SMALL_SHARE
    if drawn:
        own = drawn[0] if is_small else rng.choice(drawn[1:] or drawn)
        batch = recipe.mending_small_batch if is_small else recipe.bucket_batch
        return _mended(trainer, own, batch, rng)
    pictures = small if is_small else rng.choice(buckets)
    batch = recipe.small_batch if is_small else recipe.bucket_batch
    return trainer.loss(recipe.stages[-1], pictures, batch)


def _mended(trainer: Trainer, drawn: Drawn, batch: int, rng: random.Random) -> Tensor:
    """Return how far from right the predictions are, at steps that a sampler has come to."""
    recipe = trainer.recipe
    chosen = rng.sample(range(len(drawn.scenes)), min(batch, len(drawn.scenes)))
    scenes = [drawn.scenes[index] for index in chosen]
    late = (drawn.course.timesteps <= recipe.mending_below).nonzero().squeeze(1)
    steps = late[torch.randint(len(late), (len(chosen),))]
    right = drawn.right[chosen]
    counts = 1 + (recipe.contested_weight - 1) * Pictures(scenes, right).contested(
        range(len(scenes))
    )
    t = drawn.course.timesteps[steps]
    noisy = drawn.course.states[torch.tensor(chosen), steps]
    # Each twice: with its caption, and without.
    ids, mask = trainer.captioner(scenes, len(scenes))
    noisy, right, counts, t, ids, mask = (
        part.to(trainer.device) for part in (noisy, right, counts / counts.mean(), t, ids, mask)
    )
    alpha = trainer.alphas.to(trainer.device)[t][:, None, None, None]
    noise = trainer.pair(torch.cat([noisy, noisy]), torch.cat([t, t]), ids, mask)
    cond, uncond = ((noisy - (1 - alpha).sqrt() * part) / alpha.sqrt() for part in noise.chunk(2))
    weight = counts * (_CLEAR * alpha / (1 - alpha)).clamp(max=1)

    def missed(predicted: Tensor) -> Tensor:
        return (weight * (predicted - right).square()).mean()

    guided = missed(uncond + GUIDANCE * (cond - uncond))
    apart = (missed(cond) + missed(uncond)) / 2
    return recipe.mending_weight * (recipe.mending_guided * guided + apart)
