"""The denoiser's last lesson: to mend what it has drawn itself.

In training, what shows through the noise is right, or wrong in ways that were thought of; so it
learns to keep it. In use it is what the steps before have made, and guidance multiplies their
errors, for what it adds is the difference of two predictions. Here the denoiser is shown what a
sampler really went through, and both predictions and above all what guidance makes of them should
be the right picture. What it draws changes as it learns, so it draws anew for every round.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from .course import Course, course
from .denoiser import Trainer
from .lessons import alphas_of
from .recipe import GUIDANCE, DrawnSet, PictureSize
from .scenes import SEEN, SHAPES, Scene, random_scene
from .stencils import KINDS, Stencils

_WARM_UP = 50
_CLEAR = 4.0
"""Signal to noise is weighed by this, up to 1: the noisier, the less is decided by then."""

_ALL_SCENES = [
    Scene(*combination, size=size, place=place) for combination in SEEN for size, place in KINDS
]


@dataclass(frozen=True)
class Drawn:
    """Pictures of one size that the denoiser drew, beside what it was asked for."""

    scenes: list[Scene]
    course: Course
    """How they were drawn."""
    right: Tensor
    """Latents as they should be, (N, 4, h, w)."""
    contested: Tensor
    """1 where shapes differ, (N, 1, h, w)."""
    part: DrawnSet
    """What it was drawn for."""


def mend(trainer: Trainer, look: Callable[[int], None]) -> None:
    """Train on drawn pictures and on lessons in turn, while the rate falls to zero once more.

    ``look`` is called after each round, with the steps so far.
    """
    recipe, rng = trainer.recipe, random.Random(f"mending {trainer.recipe.seed}")
    total = recipe.mending.steps
    trainer.pair.load_state_dict(trainer.average.state_dict())
    for start in range(0, total, recipe.mending_round):
        drawn = draw_round(trainer, rng)
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
        look(steps.stop)


def draw_round(trainer: Trainer, rng: random.Random) -> list[list[Drawn]]:
    """Let the average draw scenes from their captions, of each of the recipe's sets."""
    return [
        [_draw(trainer, part, rng.choice(part.sizes), rng) for _ in range(part.draws)]
        for part in tqdm(trainer.recipe.mending_sets, desc="drawn by the model")
    ]


def _draw(trainer: Trainer, part: DrawnSet, size: PictureSize, rng: random.Random) -> Drawn:
    stencils = trainer.lessons.stencils(size)
    scenes = [random_scene(rng) for _ in range(part.pictures)]
    ids, mask = _asked(trainer, scenes, part, empty=1)
    drawn = course(trainer.average, ids, mask, size, seed=rng.getrandbits(31))
    if part.is_wordless:
        scenes = nearest_scenes(stencils, drawn.end)
    return Drawn(scenes, drawn, stencils.latents(scenes), stencils.contested(scenes), part)


def _asked(
    trainer: Trainer, scenes: Sequence[Scene], part: DrawnSet, empty: int
) -> tuple[Tensor, Tensor]:
    """Return token ids and mask, both (N + empty, longest)."""
    captioner = trainer.lessons.captioner
    if part.is_wordless:
        return captioner.pad([()] * (len(scenes) + empty))
    return captioner.rows([captioner.caption(s, partial=False) for s in scenes], empty)


def nearest_scenes(stencils: Stencils, latents: Tensor) -> list[Scene]:
    """Return the scene that each latent comes nearest to, of all that training may see.

    A blot is rather a circle than a star; lest all become circles, each shape's distances count
    from their mean over these latents.
    """
    nearest, distances = [], []
    for shape in SHAPES:
        scenes = [scene for scene in _ALL_SCENES if scene.shape == shape]
        found = torch.cdist(latents.flatten(1), stencils.latents(scenes).flatten(1)).min(1)
        nearest.append([scenes[index] for index in found.indices.tolist()])
        distances.append(found.values - found.values.mean())
    best = torch.stack(distances).argmin(0)
    return [nearest[shape][row] for row, shape in enumerate(best.tolist())]


def _loss(trainer: Trainer, drawn: Drawn, rng: random.Random) -> Tensor:
    """Return how far from right the predictions are, at steps that a sampler has come to."""
    recipe, device, rows = trainer.recipe, trainer.device, drawn.part.rows
    chosen = rng.choices(range(len(drawn.scenes)), k=rows)
    late = (drawn.course.timesteps <= recipe.mending_below).nonzero().squeeze(1)
    steps = late[torch.randint(len(late), (rows,))]
    t = drawn.course.timesteps[steps]
    noisy = drawn.course.states[torch.tensor(chosen), steps]
    # Each twice, with its caption and without; unless that is the same.
    times = 1 if drawn.part.is_wordless else 2
    scenes = [drawn.scenes[index] for index in chosen]
    ids, mask = _asked(trainer, scenes, drawn.part, empty=rows * (times - 1))
    alpha, noisy, t, ids, mask, right, contested = (
        part.to(device)
        for part in (
            *(alphas_of(t), noisy, t, ids, mask),
            *(drawn.right[chosen], drawn.contested[chosen]),
        )
    )
    noise = trainer.pair(noisy.repeat(times, 1, 1, 1), t.repeat(times), ids, mask)
    cleaned = [(noisy - (1 - alpha).sqrt() * part) / alpha.sqrt() for part in noise.chunk(times)]
    cond, uncond = cleaned[0], cleaned[-1]
    counts = 1 + (recipe.contested_weight - 1) * contested
    weight = counts / counts.mean() * (_CLEAR * alpha / (1 - alpha)).clamp(max=1)

    def missed(predicted: Tensor) -> Tensor:
        return (weight * (predicted - right).square()).mean()

    guided = missed(uncond + GUIDANCE * (cond - uncond))
    apart = (missed(cond) + missed(uncond)) / 2
    return recipe.mending_weight * (recipe.mending_guided * guided + apart)
