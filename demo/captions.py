"""The demo's text side: captions of scenes as token rows, and the T5 that is trained along."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5EncoderModel, T5TokenizerFast

from .recipe import TEXT, Recipe
from .scenes import PARTIAL_TEMPLATES, TEMPLATES, Scene

_NEIGHBOURS = (1, 17, 2)
"""T5's buckets of the token before, the token after, and the one before the last."""
_NEIGHBOUR_BIAS = 4.0

_FIRST_WORD, _LAST_WORD = 3, 32000


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load T5's real tokenizer from a folder with its files."""
    return T5TokenizerFast.from_pretrained(folder, local_files_only=True)


def new_encoder(seed: int) -> T5EncoderModel:
    """Return a tiny T5 with the real vocabulary and random weights.

    Its heads start out looking at a neighbour each. Left to find that out by itself, it takes
    thousands of steps until "red" knows whether "circle" or "background" follows.
    """
    torch.manual_seed(seed)
    encoder = T5EncoderModel(TEXT)
    bias = encoder.encoder.block[0].layer[0].SelfAttention.relative_attention_bias
    with torch.no_grad():
        for head, bucket in enumerate(_NEIGHBOURS):
            bias.weight[bucket, head] += _NEIGHBOUR_BIAS
    return encoder


@dataclass(frozen=True)
class Caption:
    """A sentence about a scene, as T5 is given it."""

    tokens: tuple[int, ...]
    named: Mapping[str, str]
    """What it says of the shape, the colour, the ground, the size and the place."""


NO_WORDS = Caption((), {})
"""The empty caption."""


class Captioner:
    """Turns scenes into captions and padded token rows, with the variety that training needs."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> None:
        self.tokenizer = tokenizer
        self.recipe = recipe
        self.rng = random.Random(recipe.seed + 1)

    def __call__(self, scenes: Sequence[Scene], empty: int = 0) -> tuple[Tensor, Tensor]:
        """Return token ids and mask, both (N + empty, longest); the last rows have no words."""
        return self.rows([self.caption(scene) for scene in scenes], empty)

    def rows(self, captions: Sequence[Caption], empty: int = 0) -> tuple[Tensor, Tensor]:
        """Return token ids and mask, both (N + empty, longest); the last rows have no words."""
        return self.pad([*(caption.tokens for caption in captions), *[()] * empty])

    def pad(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Pad token rows: ids and mask, both (N, longest); a row of none is an empty caption."""
        nothing = tuple(self.tokenizer("")["input_ids"])
        return pad_rows([row or nothing for row in rows])

    def caption(self, scene: Scene, partial: bool | None = None) -> Caption:
        """Say what a scene shows; not all of it where ``partial``, by default at random."""
        if partial is None:
            partial = self.rng.random() < self.recipe.partial_captions
        template = self.rng.choice(PARTIAL_TEMPLATES if partial else TEMPLATES)
        text = scene.caption(template, self.rng.randrange(6))
        row = list(self.tokenizer(text)["input_ids"])
        if self.rng.random() < self.recipe.strange_words:
            for _ in range(self.rng.randint(1, 4)):
                row.insert(self.rng.randrange(len(row)), self._strange_word())
        return Caption(tuple(row), scene.named(template))

    def _strange_word(self) -> int:
        return self.rng.randint(_FIRST_WORD, _LAST_WORD)


def pad_rows(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Pad token rows with 0: ids and mask, both (N, longest)."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask
