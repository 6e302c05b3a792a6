"""Cleaning of captions, with and without weights."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from pixart_core.text.caption_cleaning import clean_once, clean_twice
from pixart_core.text.cleaning import clean

VECTORS = json.loads((Path(__file__).parent / "clean_caption_vectors.json").read_text())["cases"]


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["in"][:20])
def test_the_reference(case: dict[str, str]) -> None:
    assert clean_once(case["in"]) == case["once"]
    assert clean_twice(case["in"]) == case["twice"]


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["in"][:20])
def test_weights_do_not_change_what_is_cleaned(case: dict[str, str]) -> None:
    words = case["in"].split(" ")
    pieces = [(word if i == 0 else f" {word}", 1.0 + i / 10) for i, word in enumerate(words)]
    assert clean(pieces, "reference", None).text == case["twice"]


def test_each_piece_keeps_its_weight() -> None:
    pieces = [(" A ", 1.0), ("RED", 1.3), (" Cat — on ", 1.0), ("[Mars]", 0.5), (", 8K,", 1.0)]
    assert clean(pieces, "reference", None).pieces == (
        ("a ", 1.0),
        ("red", 1.3),
        (" cat - on ", 1.0),
        ("mars ", 0.5),
        (", 8k", 1.0),
    )
    assert clean(pieces, "lowercase", None).pieces[0] == ("a ", 1.0)
    assert clean(pieces, "off", None).pieces == tuple(pieces)


def test_weights_stand_after_a_long_gap() -> None:
    pieces = [("see " + "p" * 250 + ".j", 1.0), ("pg of ", 1.3), ("cats and ", 0.5), ("dogs", 1.5)]
    assert clean(pieces, "reference", None).pieces[-2:] == (("cats and ", 0.5), ("dogs", 1.5))


@pytest.mark.parametrize(
    ("text", "cleaned"), [("a <![cat] dog", "a <! cat dog"), ("a <![", "a <!")]
)
def test_what_only_begins_like_markup_is_text(text: str, cleaned: str) -> None:
    assert clean([(text, 1.0)], "reference", None).text == cleaned


def test_a_piece_that_is_cleaned_away_leaves_the_others_their_weights() -> None:
    pieces = [("see ", 1.0), ("photo.png", 1.3), (" of a cat", 0.8)]
    assert clean(pieces, "reference", None).pieces == (("see", 1.0), (" of a cat", 0.8))


@pytest.mark.parametrize(
    ("cleaning", "family", "expected"),
    [
        ("auto", "alpha", "a cat dog"),
        ("auto", "sigma", " A cat & dog"),
        ("auto", None, "a cat & dog"),
        ("lowercase", "sigma", "a cat & dog"),
        ("reference", "sigma", "a cat dog"),
        ("off", "alpha", " A cat & dog"),
    ],
)
def test_auto_follows_the_family(cleaning: str, family: Any, expected: str) -> None:
    assert clean([(" A cat & dog", 1.0)], cleaning, family).text == expected


@pytest.mark.parametrize("absent", ["ftfy", "bs4"])
def test_without_the_libraries_the_text_is_lower_cased_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    found = builtins.__import__

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == absent:
            raise ModuleNotFoundError(name, name=absent)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importing)
    cleaned = clean([("A Cat & Dog ", 1.0)], "reference", "alpha")
    assert (cleaned.text, cleaned.cleaning) == ("a cat & dog", "lowercase")
    assert absent in cleaned.notice
    assert "install ftfy and beautifulsoup4" in cleaned.notice
