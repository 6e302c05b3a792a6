"""The fixed lists of prompts and seeds by which the demo model is judged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pixart_core.buckets import BUCKETS_256

from .scenes import COMBINATIONS, TEMPLATES, UNSEEN, Scene, random_scene


@dataclass(frozen=True)
class Trial:
    """One prompt and seed, and what the picture must show."""

    scene: Scene
    prompt: str
    seed: int
    width: int
    height: int

    @property
    def is_unseen(self) -> bool:
        """Whether training left out this shape in these colours."""
        return (self.scene.shape, self.scene.colour, self.scene.ground) in UNSEEN


def small_trials() -> list[Trial]:
    """Return 256 pairs at 128 px, the cheapest size: for comparisons."""
    return _trials("small", [(128, 128)] * 256)


def square_trials() -> list[Trial]:
    """Return 64 pairs at 256 x 256."""
    return _trials("square", [(256, 256)] * 64)


def bucket_trials() -> list[Trial]:
    """Return 64 pairs at sizes of the 256 table that are not square, each at least once."""
    oblong = [size for size in BUCKETS_256 if size != (256, 256)]
    return _trials("buckets", oblong + random.Random("sizes").sample(oblong, 64 - len(oblong)))


def _trials(name: str, sizes: Sequence[tuple[int, int]]) -> list[Trial]:
    """Return a list that depends on nothing but its name; combinations recur as late as can be."""
    rng = random.Random(name)
    rounds = -(-len(sizes) // len(COMBINATIONS))
    combinations = [
        combination
        for _ in range(rounds)
        for combination in rng.sample(COMBINATIONS, len(COMBINATIONS))
    ]
    trials = []
    for seed, (size, combination) in enumerate(zip(sizes, combinations, strict=False)):
        scene = random_scene(rng, combination)
        prompt = scene.caption(rng.choice(TEMPLATES), rng.randrange(6))
        trials.append(Trial(scene, prompt, seed, *size))
    return trials
