"""The table of variants, what follows from it, and the page that is made from it."""

from __future__ import annotations

import pytest

from devtools.pages import CHECKPOINTS, SOLVERS_PAGE, checkpoints_page, solvers_page
from devtools.reference import FAMILIES
from pixart_core.buckets import BUCKETS_256, buckets_of
from pixart_core.variants import VAES, VARIANTS


def test_the_pages_are_the_tables() -> None:
    """If this fails, run ``python dev.py pages``."""
    assert CHECKPOINTS.read_text(encoding="utf-8") == checkpoints_page()
    assert SOLVERS_PAGE.read_text(encoding="utf-8") == solvers_page()


def test_every_variant_is_compared_with_diffusers() -> None:
    assert {family.name for family in FAMILIES} == set(VARIANTS)
    for family in FAMILIES:
        variant = VARIANTS[family.name]
        assert variant.sample_size == family.sample_size * 8
        assert variant.tokens == family.tokens
        assert variant.size_conditions == family.size_conditions
        assert variant.position_range == family.sample_size / 2 / family.interpolation_scale
        assert variant.latent_scale in VAES


@pytest.mark.parametrize("side", [256, 512, 1024, 2048])
def test_buckets_have_about_the_trained_area(side: int) -> None:
    sizes = buckets_of(side)
    assert len(sizes) == 40
    assert (side, side) in sizes
    for width, height in sizes:
        assert width * height == pytest.approx(side * side, rel=0.1)
        assert width % (side // 16) == height % (side // 16) == 0


def test_the_table_for_256_is_the_published_one() -> None:
    assert BUCKETS_256[0] == (512, 128)
    assert BUCKETS_256[12] == (336, 192)
    assert len(set(BUCKETS_256)) == 40
