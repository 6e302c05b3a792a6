"""Styles: the official ten, and a table of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixart_core.text.official_styles import NO_STYLE
from pixart_core.text.styles import official_styles, read_styles

HEAD = "name,prompt,negative_prompt\n"


def table(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    """Write a table."""
    path = tmp_path / "styles.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_an_official_style_joins_as_the_demo_pages_do() -> None:
    prompt, negative = official_styles()["Manga"].apply("a cat", "blue")
    assert prompt == (
        "manga style a cat . vibrant, high-energy, detailed, iconic, Japanese comic style"
    )
    assert negative.endswith("realism, photorealistic, Western comic styleblue")


def test_the_official_styles_are_those_of_the_demo_pages() -> None:
    given = json.loads((Path(__file__).parent / "styles.json").read_text())["styles"]
    assert [[s.name, s.prompt, s.negative] for s in official_styles().values()] == [
        [s["name"], s["prompt"], s["negative_prompt"]] for s in given
    ]


def test_the_first_style_changes_nothing() -> None:
    styles = official_styles()
    assert next(iter(styles)) == NO_STYLE
    assert len(styles) == 10
    assert styles[NO_STYLE].apply("a cat", "b") == ("a cat", "b")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_quotes_commas_and_line_breaks_in_fields(tmp_path: Path, encoding: str) -> None:
    text = HEAD + 'Mine,"a ""fine"" {prompt},\r\non paper","dull, grey"\r\nInk,ink drawing,\r\n'
    found = read_styles(table(tmp_path, text, encoding))
    assert not found.complaints
    assert found.styles["Mine"].apply("cat", "red") == (
        'a "fine" cat,\r\non paper',
        "red, dull, grey",
    )
    assert found.styles["Ink"].apply("cat", "") == ("cat, ink drawing", "")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (",x,y\n", "line 3: the style has no name"),
        ("Good,x,y\n", "line 3: there is a style Good already"),
        ("Manga,x,y\n", "line 3: there is a style Manga already"),
        ("A,b,c,d\n", "line 3: it has more fields than the first line"),
        ("Short\n", "line 3: the style Short has no prompt"),
        ('Open,"no end,\n', "line 3: unexpected end of data"),
        ('Odd,"a"b,c\n', "line 3: ',' expected after"),
    ],
)
def test_a_bad_row_is_named_and_the_others_work(tmp_path: Path, row: str, complaint: str) -> None:
    found = read_styles(table(tmp_path, f"{HEAD}Good,a {{prompt}},\n{row}\nLast,b,\n"))
    assert [list(found.styles)[-2:], len(found.complaints)] == [["Good", "Last"], 1]
    assert complaint in found.complaints[0]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a,b\n1,2\n", "should name the columns"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"", ""),
    ],
)
def test_a_table_that_is_none(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "styles.csv"
    path.write_bytes(content)
    found = read_styles(path)
    assert len(found.styles) == 10
    assert complaint in " ".join(found.complaints)


def test_without_a_table_there_are_the_official_styles(tmp_path: Path) -> None:
    found = read_styles(tmp_path / "styles.csv")
    assert len(found.styles) == 10
    assert not found.complaints
