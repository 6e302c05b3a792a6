"""What holds for any text, size and name, tried on many that nobody would think of."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixart_core.buckets import TABLES, buckets_of
from pixart_core.errors import SamplingError
from pixart_core.lora.names import PARTS, PREFIXES, Name, read_name
from pixart_core.resolution import ASPECTS, EXACT, LIKE_IMAGE, SIZINGS, Wish, choose_size
from pixart_core.text.cleaning import AUTO, CLEANINGS, Piece, clean
from pixart_core.text.styles import StyleTable, official_styles, read_styles
from pixart_core.text.tokens import END, PAD, fit_tokens, real_tokens
from pixart_core.variants import Family

LONGEST = 12_000
SLOWEST = 30.0
"""Seconds: far above what is measured, far below what a regular expression gone wild takes."""

settings.register_profile("pixart", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("pixart")

TEXT = st.text(max_size=300)
"""Any Unicode but halves of letters, which the host's API cannot send."""
SIGNS = st.text(alphabet="aB 1.,:;-_/\\()[]{}<>&#@'\"`*|~%?!\n\t", max_size=120)
"""What the rules of the cleaning are about, in any order."""
PROMPT = TEXT | SIGNS
PIECES = st.lists(st.tuples(PROMPT, st.sampled_from([0.0, 0.5, 1.0, 1.2, -1.0])), max_size=6)
SIDE = st.integers(1, 20_000)


@given(PIECES, st.sampled_from([AUTO, *CLEANINGS]), st.sampled_from([None, "alpha", "sigma"]))
def test_weights_change_no_letter(
    pieces: list[Piece], cleaning: str, family: Family | None
) -> None:
    text = "".join(text for text, _ in pieces)
    whole = clean([(text, 1.0)], cleaning, family)
    parts = clean(pieces, cleaning, family)
    assert parts.text == whole.text
    assert {weight for _, weight in parts.pieces} <= {1.0, *(weight for _, weight in pieces)}


@given(PIECES, st.integers(0, 400))
def test_the_start_of_a_prompt_keeps_its_letters(pieces: list[Piece], end: int) -> None:
    cleaned = clean(pieces, "off", None)
    assert "".join(text for text, _ in cleaned.up_to(end)) == cleaned.text[:end]


@given(st.text(alphabet="a.-/<(1 \"'w", min_size=1, max_size=6))
@settings(max_examples=15)
def test_the_longest_prompt_is_cleaned_in_time(part: str) -> None:
    text = (part * LONGEST)[:LONGEST]
    began = time.monotonic()
    clean([(text[: LONGEST // 2], 1.0), (text[LONGEST // 2 :], 1.2)], "reference", None)
    assert time.monotonic() - began < SLOWEST


@given(st.lists(st.integers(2, 32_000)), st.integers(1, 300))
def test_a_prompt_is_cut_and_nothing_is_lost(words: list[int], limit: int) -> None:
    fitted = fit_tokens([*words, END], limit)
    assert len(fitted.kept) <= limit
    assert fitted.kept[-1] == END
    assert [*fitted.kept[:-1], *fitted.cut] == words


@given(st.lists(st.lists(st.integers(2, 32_000), max_size=20), max_size=4), st.integers(0, 5))
def test_padding_and_inner_ends_go(rows: list[list[int]], padding: int) -> None:
    padded = [[(token, 1.0) for token in [*row, END, *[PAD] * padding]] for row in rows]
    words = [token for row in rows for token in row]
    assert [token for token, _ in real_tokens(padded)] == [*words, END]


@given(st.text(), st.sampled_from(sorted(PREFIXES)), st.sampled_from(sorted(PARTS)))
def test_any_name_of_a_tensor_is_read_or_is_none(text: str, prefix: str, part: str) -> None:
    for key in (text, f"{prefix}{text}", f"{text}.{part}", f"{prefix}{text}.{part}"):
        name = read_name(key)
        assert name is None or isinstance(name, Name)
    assert read_name(f"blocks.{text}.{part}") is not None


@given(
    st.sampled_from(SIZINGS),
    st.sampled_from(ASPECTS),
    st.tuples(SIDE, SIDE),
    st.sampled_from([None, *TABLES]),
    st.booleans(),
    st.booleans(),
    st.none() | st.tuples(SIDE, SIDE),
)
def test_a_chosen_size_is_of_the_table(
    sizing: str,
    aspect: str,
    size: tuple[int, int],
    table: int | None,
    tested: bool,
    swap: bool,
    picture: tuple[int, int] | None,
) -> None:
    wish = Wish(sizing, aspect, *size, table, tested, swap, picture)
    if sizing == LIKE_IMAGE and picture is None:
        with pytest.raises(SamplingError, match="image"):
            choose_size(wish)
        return
    chosen = choose_size(wish)
    found = (chosen.width, chosen.height)
    assert chosen.notice
    if sizing == EXACT:
        assert found == (size[::-1] if swap else size)
    else:
        assert any(found in buckets_of(side) for side in ([table] if table else TABLES))


NAMES = st.text(alphabet=st.characters(codec="utf-8"), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(NAMES, TEXT, TEXT), max_size=5, unique_by=lambda row: row[0].strip()))
def test_a_table_of_styles_is_read_as_it_was_written(rows: list[tuple[str, str, str]]) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerows([("name", "prompt", "negative_prompt"), *rows])
    table = _read(out.getvalue().encode("utf-8", "surrogatepass"))
    own = {name: style for name, style in table.styles.items() if not style.official}
    wanted = [row for row in rows if row[0].strip() not in official_styles()]
    assert [(s.prompt, s.negative) for s in own.values()] == [(p, n) for _, p, n in wanted]


@given(st.binary(max_size=400) | SIGNS.map(str.encode))
def test_any_table_of_styles_is_read_or_complained_of(content: bytes) -> None:
    table = _read(content)
    assert set(official_styles()) <= set(table.styles)
    assert all(complaint.endswith(".") for complaint in table.complaints)


@given(PROMPT, PROMPT, PROMPT, PROMPT)
def test_a_style_keeps_the_words(template: str, away: str, prompt: str, negative: str) -> None:
    for style in official_styles().values():
        found = style.apply(prompt, negative)
        assert prompt in found[0]
        assert negative in found[1]
    table = _read(_row("Own", template, away))
    if "Own" in table.styles:
        assert prompt.strip() in table.styles["Own"].apply(prompt, negative)[0]


def _row(*fields: str) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows([("name", "prompt", "negative_prompt"), fields])
    return out.getvalue().encode()


def _read(content: bytes) -> StyleTable:
    with TemporaryDirectory() as folder:
        path = Path(folder, "styles.csv")
        path.write_bytes(content)
        return read_styles(path)
