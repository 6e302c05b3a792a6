"""Lists of prompts: what a row may set, and the sentence with its line where it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixart_fleet.errors import FleetError
from pixart_fleet.jobs import make_jobs
from pixart_fleet.rows import Row, read_rows
from pixart_fleet.workflow import Workflow, read_workflow

from .lists import WORKFLOW, small_workflow


@pytest.fixture(scope="module")
def workflow() -> Workflow:
    return read_workflow(WORKFLOW)


def rows_of(content: str | bytes, suffix: str, folder: Path, workflow: Workflow) -> list[Row]:
    path = folder / f"list{suffix}"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_rows(path, workflow)


def test_csv_and_jsonl_say_the_same(tmp_path: Path, workflow: Workflow) -> None:
    table = (
        "\ufeffprompt,negative,seed,6.guidance,width\r\n"
        '"a star, red",blurry,7,3,128\r\n\r\n'
        '"two\nlines",,,4.5,\r\n'
    )
    lines = (
        '{"prompt": "a star, red", "negative": "blurry", "seed": 7, "guidance": 3, "width": 128}\n'
        "\n"
        '{"prompt": "two\\nlines", "negative": "", "guidance": 4.5, "seed": null}\n'
    )
    wanted = [
        {
            ("3", "text"): "a star, red",
            ("4", "text"): "blurry",
            ("6", "seed"): 7,
            ("6", "guidance"): 3.0,
            ("5", "width"): 128,
        },
        {("3", "text"): "two\nlines", ("4", "text"): "", ("6", "guidance"): 4.5},
    ]
    table_rows = rows_of(table, ".csv", tmp_path, workflow)
    assert [row.values for row in table_rows] == wanted
    assert [row.line for row in table_rows] == [2, 4]
    assert rows_of(lines, ".jsonl", tmp_path, workflow) == [Row(1, wanted[0]), Row(3, wanted[1])]


@pytest.mark.parametrize(
    ("content", "suffix", "said"),
    [
        ("prompt,sede\na,1\n", ".csv", r"line 1 of .*: found the column 'sede'.* seed, .*width"),
        ("text\na\n", ".csv", r"line 1 .*'text', which 2 nodes have, expected one of 3.text, 4.t"),
        ("prompt,3.text\na,b\n", ".csv", r"line 1 .*a second column for 3.text"),
        ("prompt,seed\na,1\nb\n", ".csv", r"line 3 .*found 1 cells, expected 2"),
        ("prompt,seed\na,1\nb,x1\n", ".csv", r"line 3 .*'x1' for seed, expected a whole number"),
        ("prompt,guidance\na,nan\n", ".csv", r"line 2 .*'nan' for guidance, expected a number"),
        ('prompt,seed\n"a\n\n', ".csv", r"line 2 .*unexpected end of data"),
        ('{"seed": 1}\n{"seed": true}\n', ".jsonl", r"line 2 .*'True' for seed, expected a whole"),
        ('{"seed": 1}\n{"seed": 1.5}\n', ".jsonl", r"line 2 .*'1.5' for seed"),
        ('{"guidance": NaN}\n', ".jsonl", r"line 1 .*'nan' for guidance"),
        ('{"guidance": 1' + 400 * "0" + "}", ".jsonl", r"line 1 .*0' for guidance, expected a num"),
        ('{"seed": 1}\n\n[1]\n', ".jsonl", r"line 3 .*found a list, expected a JSON object"),
        ('{"seed": 1\n', ".jsonl", r"line 1 .*expected one JSON object a line"),
        ("prompt\n", ".csv", r"found no rows"),
        (b"prompt\na\n\xff\n", ".csv", r"not UTF-8 in line 3"),
        ("prompt\na\n", ".txt", r"a file named list.txt"),
    ],
)
def test_a_bad_list_is_a_sentence_with_its_line(
    content: str | bytes, suffix: str, said: str, tmp_path: Path, workflow: Workflow
) -> None:
    with pytest.raises(FleetError, match=said):
        rows_of(content, suffix, tmp_path, workflow)


def test_what_takes_fractions_takes_them_where_the_editor_wrote_none(tmp_path: Path) -> None:
    workflow = small_workflow(guidance=5)
    for content, suffix in (("guidance\n4.5\n5\n", ".csv"), ('{"guidance": 4.5}\n{}', ".jsonl")):
        first, second = make_jobs(rows_of(content, suffix, tmp_path, workflow), workflow)
        assert first.values == {("6", "guidance"): 4.5}
        assert second.values == {}, "5.0 is 5"


def test_a_list_that_is_not_there_is_a_sentence(tmp_path: Path, workflow: Workflow) -> None:
    with pytest.raises(FleetError, match="No such file"):
        read_rows(tmp_path / "none.csv", workflow)
