"""The picture sizes that PixArt was trained at, as the published tables list them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

BUCKETS_256: tuple[tuple[int, int], ...] = (
    (512, 128),
    (496, 128),
    (480, 128),
    (464, 128),
    (448, 144),
    (432, 144),
    (416, 144),
    (400, 160),
    (384, 160),
    (368, 176),
    (352, 176),
    (336, 176),
    (336, 192),
    (320, 192),
    (304, 208),
    (288, 208),
    (288, 224),
    (272, 224),
    (272, 240),
    (256, 240),
    (256, 256),
    (240, 256),
    (240, 272),
    (224, 272),
    (224, 288),
    (208, 288),
    (208, 304),
    (192, 320),
    (192, 336),
    (176, 352),
    (176, 368),
    (160, 384),
    (160, 400),
    (144, 416),
    (144, 432),
    (144, 448),
    (128, 464),
    (128, 480),
    (128, 496),
    (128, 512),
)
"""Width and height in pixels of the table ASPECT_RATIO_256 of PixArt-alpha, widest first."""


TABLES = (256, 512, 1024, 2048)
"""Sides in pixels of the squares that the models were trained for; each has its table."""

_UNTESTED_LABELS = {
    2048: ("0.27", "0.28", "2.89", "3.11", "3.62", "3.75", "3.88"),
}
_UNTESTED_ELSEWHERE = ("0.26", "0.27", "2.89", "3.11", "3.62", "3.75", "3.88")


@dataclass(frozen=True)
class Bucket:
    """One trained size, in pixels."""

    width: int
    height: int
    tested: bool
    """Whether the published interfaces offer it, too; of 40 trained sizes they offer 33."""

    @property
    def label(self) -> float:
        """Height to width to two places, as the published tables are keyed."""
        return round(self.height / self.width, 2)


def buckets_of(side: int) -> tuple[tuple[int, int], ...]:
    """Return the trained sizes of the models for ``side``: 256, 512, 1024 or 2048 pixels.

    The published tables for the larger sides are that for 256, multiplied.
    """
    factor = side // 256
    return tuple((width * factor, height * factor) for width, height in BUCKETS_256)


@cache
def table_of(side: int) -> tuple[Bucket, ...]:
    """Return the 40 buckets of the models for ``side``, widest first."""
    untested = _UNTESTED_LABELS.get(side, _UNTESTED_ELSEWHERE)
    return tuple(
        Bucket(width, height, tested=f"{height / width:.2f}" not in untested)
        for width, height in buckets_of(side)
    )


def nearest_bucket(width: int, height: int, side: int, *, tested: bool = True) -> Bucket:
    """Return the bucket of nearest aspect, as the published code finds it.

    ``tested``: of the 33 that the published interfaces offer, else of all 40 that were trained.
    Of two equally near ones it is the wider.
    """
    buckets = [bucket for bucket in table_of(side) if bucket.tested or not tested]
    return min(buckets, key=lambda bucket: abs(bucket.label - height / width))


def nearest_table(width: int, height: int) -> int:
    """Return the side whose square has the nearest number of pixels, on a logarithmic scale."""
    return min(TABLES, key=lambda side: abs(math.log(width * height / side**2)))
