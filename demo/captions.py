"""The demo's text side: captions of scenes as token rows, and the T5 that is trained along."""

from __future__ import annotations

import random
from collections.abc import Sequence
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


class Captioner:
    """Turns scenes into padded token rows, with the variety that training needs."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> None:
        self.tokenizer = tokenizer
        self.recipe = recipe
        self.rng = random.Random(recipe.seed + 1)

    def __call__(self, scenes: Sequence[Scene], empty: int = 0) -> tuple[Tensor, Tensor]:
        """Return token ids and mask, both (N + empty, longest); the last rows have no words."""
        nothing = list(self.tokenizer("")["input_ids"])
        return pad_rows([*(self._row(scene) for scene in scenes), *[nothing] * empty])

    def _row(self, scene: Scene) -> list[int]:
        partial = self.rng.random() < self.recipe.partial_captions
        template = self.rng.choice(PARTIAL_TEMPLATES if partial else TEMPLATES)
        caption = scene.caption(template, self.rng.randrange(6))
        row = list(self.tokenizer(caption)["input_ids"])
        if self.rng.random() < self.recipe.strange_words:
            for _ in range(self.rng.randint(1, 4)):
                row.insert(self.rng.randrange(len(row)), self._strange_word())
        return row

    def _strange_word(self) -> int:
        return self.rng.randint(_FIRST_WORD, _LAST_WORD)


def pad_rows(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Pad token rows with 0: ids and mask, both (N, longest)."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask
