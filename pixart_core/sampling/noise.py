"""Generators from which each picture of a batch draws its own noise."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch


def row_generators(rows: Sequence[tuple[int, int]]) -> list[torch.Generator]:
    """Return one CPU generator for each picture, given as (seed, row in the batch).

    A picture draws the same alone and in any batch; seed 1 row 0 is not seed 0 row 1.
    """
    return [torch.Generator().manual_seed(_mixed(seed, row)) for seed, row in rows]


def _mixed(seed: int, row: int) -> int:
    return int.from_bytes(blake2b(f"{seed} {row}".encode(), digest_size=8).digest(), "little")
