"""The picture sizes that PixArt was trained at, as the published tables list them."""

from __future__ import annotations

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


def buckets_of(side: int) -> tuple[tuple[int, int], ...]:
    """Return the trained sizes of the models for ``side``: 256, 512, 1024 or 2048 pixels.

    The published tables for the larger sides are that for 256, multiplied.
    """
    factor = side // 256
    return tuple((width * factor, height * factor) for width, height in BUCKETS_256)
