"""The tables of trained sizes, and which size a wish gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pixart_core.buckets import TABLES, nearest_bucket, nearest_table, table_of
from pixart_core.errors import SamplingError
from pixart_core.resolution import (
    ASPECTS,
    BY_ASPECT,
    EXACT,
    LIKE_IMAGE,
    NEAREST,
    Size,
    Wish,
    choose_size,
)

PUBLISHED: dict[str, dict[str, list[int]]] = json.loads(
    (Path(__file__).parent / "buckets.json").read_text(encoding="utf-8")
)["tables"]


@pytest.mark.parametrize("side", TABLES)
def test_the_tables_are_the_published_ones(side: int) -> None:
    whole, tested = (PUBLISHED[f"ASPECT_RATIO_{side}{kind}"] for kind in ("", "_TEST"))
    found = {str(bucket.label): [bucket.height, bucket.width] for bucket in table_of(side)}
    assert found == whole
    offered = {str(bucket.label) for bucket in table_of(side) if bucket.tested}
    assert offered == set(tested)
    assert (len(found), len(offered)) == (40, 33)


def classified(height: float, width: float, table: dict[str, list[int]]) -> list[int]:
    """The published rule, as it is written."""
    ar = float(height) / float(width)
    return table[min(table.keys(), key=lambda ratio: abs(float(ratio) - ar))]


@pytest.mark.parametrize("side", TABLES)
@pytest.mark.parametrize("tested", [True, False])
def test_the_nearest_is_the_published_one(side: int, tested: bool) -> None:
    table = PUBLISHED[f"ASPECT_RATIO_{side}{'_TEST' if tested else ''}"]
    for width in range(100, 2100, 37):
        for height in range(100, 2100, 41):
            bucket = nearest_bucket(width, height, side, tested=tested)
            assert [bucket.height, bucket.width] == classified(height, width, table)


def test_aspects_are_said_in_words_and_numbers() -> None:
    assert len(set(ASPECTS)) == 40
    assert ASPECTS[0] == "1:1 square · 1024 × 1024"
    for label in (
        "16:9 landscape · 1344 × 768",
        "9:16 portrait · 768 × 1344",
        "4:3 landscape · 1152 × 832",
        "21:9 landscape · 1536 × 640",
        "1:4 portrait · 512 × 2048",
        "1.07:1 landscape · 1024 × 960",
        "1:3.75 portrait · 512 × 1920 (rarely used)",
    ):
        assert label in ASPECTS


@pytest.mark.parametrize("label", ASPECTS)
@pytest.mark.parametrize("side", TABLES)
def test_an_aspect_is_the_same_in_every_table(label: str, side: int) -> None:
    width, height = label.partition("· ")[2].partition(" (")[0].split(" × ")
    size = choose_size(Wish(BY_ASPECT, label, table=side))
    assert (size.width, size.height) == (int(width) * side // 1024, int(height) * side // 1024)


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        (Wish(BY_ASPECT), (1024, 1024)),
        (Wish(BY_ASPECT, "16:9 landscape · 1344 × 768", swap=True), (768, 1344)),
        (Wish(NEAREST, width=1920, height=1080, table=1024), (1344, 768)),
        (Wish(NEAREST, width=1920, height=1080), (1344, 768)),
        (Wish(NEAREST, width=3840, height=2160), (2688, 1536)),
        (Wish(NEAREST, width=1920, height=1080, table=512, swap=True), (384, 672)),
        (Wish(NEAREST, width=2000, height=516, table=1024), (2048, 512)),
        (Wish(NEAREST, width=2000, height=516, table=1024, tested=False), (1984, 512)),
        (Wish(EXACT, width=1000, height=640), (1000, 640)),
        (Wish(EXACT, width=1000, height=640, swap=True), (640, 1000)),
        (Wish(LIKE_IMAGE, picture=(600, 400), table=1024), (1216, 832)),
        (Wish(LIKE_IMAGE, picture=(600, 400)), (608, 416)),
    ],
)
def test_the_size_of_a_wish(wish: Wish, found: tuple[int, int]) -> None:
    size = choose_size(wish)
    assert (size.width, size.height) == found


def test_leaving_the_trained_sizes_is_said() -> None:
    odd = choose_size(Wish(EXACT, width=1600, height=1600))
    assert odd.notice.startswith("1600 × 1600 is not among the sizes of the 2K table")
    assert odd.notice.endswith("The nearest is 2048 × 2048.")
    small = choose_size(Wish(EXACT, width=512, height=512, table=1024))
    assert "is not among the sizes of the 1024 table" in small.notice
    known = choose_size(Wish(EXACT, width=1344, height=768))
    assert known == Size(1344, 768, "1344 × 768, of the 1024 table")


def test_an_image_is_needed_to_be_like_it() -> None:
    with pytest.raises(SamplingError, match="found nothing connected to image"):
        choose_size(Wish(LIKE_IMAGE))


def test_the_nearest_table() -> None:
    sizes: Any = {(256, 256): 256, (300, 300): 256, (512, 640): 512, (1000, 900): 1024}
    assert {size: nearest_table(*size) for size in sizes} == sizes
    assert nearest_table(8192, 8192) == 2048
