"""Which size a picture gets: by a named aspect, a wish in pixels, or another picture's shape."""

from __future__ import annotations

from dataclasses import dataclass

from .buckets import BUCKETS_256, TABLES, Bucket, nearest_bucket, nearest_table, table_of
from .errors import SamplingError

SIZINGS = ("aspect ratio", "nearest trained size", "exact size", "like the image")
"""Ways of choosing a size."""
BY_ASPECT, NEAREST, EXACT, LIKE_IMAGE = SIZINGS

_NAMED = {
    (256, 256): "1:1",
    (272, 224): "5:4",
    (288, 208): "4:3",
    (304, 208): "3:2",
    (320, 192): "5:3",
    (336, 192): "16:9",
    (352, 176): "2:1",
    (384, 160): "21:9",
    (400, 160): "5:2",
    (432, 144): "3:1",
    (512, 128): "4:1",
}
"""The trained size, in the 256 table, that stands for an aspect people ask for."""

_LABELLED = 1024
"""The table whose sizes the labels show; those of the others are in proportion."""


def _label(bucket: Bucket) -> str:
    width, height = (side * 256 // _LABELLED for side in (bucket.width, bucket.height))
    if width >= height:
        name = _NAMED.get((width, height), f"{width / height:.2f}:1")
    else:
        name = ":".join(reversed(_NAMED.get((height, width), f"{height / width:.2f}:1").split(":")))
    word = "square" if width == height else "landscape" if width > height else "portrait"
    rare = "" if bucket.tested else " (rarely used)"
    return f"{name} {word} · {bucket.width} × {bucket.height}{rare}"


_INDEX = {_label(bucket): index for index, bucket in enumerate(table_of(_LABELLED))}
_SQUARE = BUCKETS_256.index((256, 256))

ASPECTS: tuple[str, ...] = tuple(
    sorted(_INDEX, key=lambda label: (_INDEX[label] > _SQUARE, abs(_INDEX[label] - _SQUARE)))
)
"""All 40 aspects, width to height: the square, the landscapes, the portraits, widening each."""


@dataclass(frozen=True)
class Wish:
    """What the user set."""

    sizing: str
    """One of ``SIZINGS``."""
    aspect: str = ASPECTS[0]
    width: int = 1024
    """In pixels, as is ``height``."""
    height: int = 1024
    table: int | None = None
    """Side of the square whose table is used; None where the size itself tells."""
    tested: bool = True
    """Whether only the 33 sizes count that the published interfaces offer."""
    swap: bool = False
    """Whether width and height change places."""
    picture: tuple[int, int] | None = None
    """Width and height of the connected picture."""


@dataclass(frozen=True)
class Size:
    """A size in pixels, and what to say of it."""

    width: int
    height: int
    notice: str


def choose_size(wish: Wish) -> Size:
    """Return the size that is wished for; raise SamplingError where a picture is missing."""
    if wish.sizing == EXACT:
        width, height = (wish.height, wish.width) if wish.swap else (wish.width, wish.height)
        return Size(width, height, _exact_notice(width, height, wish.table))
    bucket, table = _bucket(wish)
    width, height = bucket.width, bucket.height
    if wish.swap:
        width, height = height, width
    return Size(width, height, f"{width} × {height}, of the {_name(table)} table")


def sizing_error(sizing: str) -> SamplingError:
    """Say that a way of choosing a size is unknown."""
    return SamplingError(
        "The picture's size cannot be chosen",
        found=f"the sizing {sizing!r}",
        expected=f"one of {', '.join(SIZINGS)}",
        advice="Choose one of them.",
    )


def _bucket(wish: Wish) -> tuple[Bucket, int]:
    if wish.sizing == BY_ASPECT:
        table = wish.table or _LABELLED
        return table_of(table)[_INDEX[wish.aspect]], table
    if wish.sizing == LIKE_IMAGE and wish.picture is None:
        raise SamplingError(
            "The picture's size cannot be taken from an image",
            found="nothing connected to image",
            expected="a picture",
            advice="Connect one, or choose another sizing.",
        )
    width, height = (wish.width, wish.height)
    if wish.sizing == LIKE_IMAGE and wish.picture is not None:
        width, height = wish.picture
    table = wish.table or nearest_table(width, height)
    return nearest_bucket(width, height, table, tested=wish.tested), table


def _exact_notice(width: int, height: int, table: int | None) -> str:
    tables = [table] if table else TABLES
    for side in tables:
        if any((width, height) == (b.width, b.height) for b in table_of(side)):
            return f"{width} × {height}, of the {_name(side)} table"
    side = table or nearest_table(width, height)
    near = nearest_bucket(width, height, side)
    return (
        f"{width} × {height} is not among the sizes of the {_name(side)} table; far from them the "
        f"picture repeats itself or falls apart. The nearest is {near.width} × {near.height}."
    )


def _name(table: int) -> str:
    return "2K" if table == 2048 else str(table)
