"""The denoiser's last lesson: to mend what it has drawn itself.

In training, what shows through the noise is right, or wrong in ways that were thought of; so it
learns to keep it. In use it is what the steps before have made, and guidance multiplies their
errors, for what it adds is the difference of two predictions. Here the denoiser is shown what a
sampler really went through, and both predictions and above all what guidance makes of them should
be the right picture: the prediction without words too, for what guidance has made by then shows
what is meant. Where nothing was asked for, right is the mean of all that may be meant then, as in
the lessons. What it draws changes as it learns, so it draws anew for every round.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from .captions import NO_WORDS, Caption
from .course import Course, course
from .denoiser import Pair, Trainer
from .lessons import alphas_of
from .recipe import GUIDANCE, DrawnSet, PictureSize
from .scenes import Scene, random_scene
from .stencils import form_of

_WARM_UP = 50
_CLEAR = 4.0
"""Signal to noise is weighed by this, up to 1: the noisier, the less is decided by then."""


@dataclass(frozen=True)
class Drawn:
    """Pictures of one size that the denoiser drew, beside what it was asked for."""

    scenes: list[Scene]
    """What was asked for, unless nothing was."""
    size: PictureSize
    course: Course
    """How they were drawn."""
    part: DrawnSet
    """What it was drawn for."""


def mend(trainer: Trainer, state: Path, look: Callable[[Pair, int], None]) -> Pair:
    """Train on drawn pictures and on lessons in turn, while the rate falls to zero once more.

    Saves to ``state`` after each round, shows the average to ``look`` with the step, and returns
    it.
    """
    recipe, total = trainer.recipe, trainer.recipe.mending.steps
    if state.exists():
        trainer.resume(state)
    else:
        trainer.pair.load_state_dict(trainer.average.state_dict())
        trainer.step = trainer.total
    for start in range(trainer.step - trainer.total, total, recipe.mending_round):
        trainer.reseed()
        rng = random.Random(f"mending {recipe.seed} {start}")
        drawn = draw_round(trainer, recipe.mending_sets, rng)
        steps = range(start, min(start + recipe.mending_round, total))
        bar = tqdm(steps, desc="mending", initial=start, total=total)
        for step in bar:
            if step % 2:
                loss = trainer.loss(recipe.mending)
            else:
                (pictures,) = rng.choices(drawn, [part.share for part in recipe.mending_sets])
                loss = _loss(trainer, rng.choice(pictures), rng)
            left = 1 - step / total
            rate = recipe.mending_rate * min(1.0, (step + 1) / _WARM_UP) * left
            bar.set_postfix(loss=f"{trainer.learn(loss, rate, recipe.mending_ema):.3f}")
            trainer.step += 1
            if step + 1 == steps.stop:
                trainer.save(state)
            if (step + 1) % recipe.steps_between_sheets == 0 or step + 1 == total:
                look(trainer.average, trainer.step)
    return trainer.average


def draw_round(trainer: Trainer, sets: Sequence[DrawnSet], rng: random.Random) -> list[list[Drawn]]:
    """Let the average draw scenes from their captions, of each of the sets."""
    return [
        [_draw(trainer, part, rng.choice(part.sizes), rng) for _ in range(part.draws)]
        for part in tqdm(sets, desc="drawn by the model")
    ]


def _draw(trainer: Trainer, part: DrawnSet, size: PictureSize, rng: random.Random) -> Drawn:
    scenes = [random_scene(rng) for _ in range(part.pictures)]
    ids, mask = trainer.lessons.captioner.rows(_asked(trainer, scenes, part), empty=1)
    drawn = course(trainer.average, ids, mask, size, seed=rng.getrandbits(31))
    return Drawn(scenes, size, drawn, part)


def _asked(trainer: Trainer, scenes: Sequence[Scene], part: DrawnSet) -> list[Caption]:
    if part.is_wordless:
        return [NO_WORDS] * len(scenes)
    return [trainer.lessons.captioner.caption(scene, partial=False) for scene in scenes]


def _loss(trainer: Trainer, drawn: Drawn, rng: random.Random) -> Tensor:
    """Return how far from right the predictions are, at steps that a sampler has come to."""
    recipe, device, rows = trainer.recipe, trainer.device, drawn.part.rows
    chosen = rng.choices(range(len(drawn.scenes)), k=rows)
    late = (drawn.course.timesteps <= recipe.mending_below).nonzero().squeeze(1)
    steps = late[torch.randint(len(late), (rows,))]
    t = drawn.course.timesteps[steps]
    noisy, alpha = drawn.course.states[torch.tensor(chosen), steps], alphas_of(t)
    scenes = [drawn.scenes[index] for index in chosen]
    captions = _asked(trainer, scenes, drawn.part)
    right, contested = _right(trainer, drawn, scenes, noisy, alpha)
    counts = 1 + (recipe.contested_weight - 1) * contested
    weight = counts / counts.mean() * (_CLEAR * alpha / (1 - alpha)).clamp(max=1)
    # Each twice, with its caption and without; unless that is the same.
    times = 1 if drawn.part.is_wordless else 2
    ids, mask = trainer.lessons.captioner.rows(captions, empty=rows * (times - 1))
    alpha, noisy, t, ids, mask, right, weight = (
        part.to(device) for part in (alpha, noisy, t, ids, mask, right, weight)
    )
    noise = trainer.pair(noisy.repeat(times, 1, 1, 1), t.repeat(times), ids, mask)
    cleaned = [(noisy - (1 - alpha).sqrt() * part) / alpha.sqrt() for part in noise.chunk(times)]
    cond, uncond = cleaned[0], cleaned[-1]

    def missed(predicted: Tensor) -> Tensor:
        return (weight * (predicted - right).square()).mean()

    guided = missed(uncond + GUIDANCE * (cond - uncond))
    apart = (missed(cond) + missed(uncond)) / 2
    return recipe.mending_weight * (recipe.mending_guided * guided + apart)


def _right(
    trainer: Trainer, drawn: Drawn, scenes: Sequence[Scene], noisy: Tensor, alpha: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the right latents and how likely it is that shapes differ there, (N, ..., h, w)."""
    if drawn.part.is_wordless:
        found = trainer.lessons.expectation(drawn.size, noisy, alpha, [{}] * len(noisy))
        return found.latents, found.contested
    stencils = trainer.lessons.stencils(drawn.size)
    return stencils.latents(scenes), stencils.contested[[*map(form_of, scenes)]]
