"""The rows of a CSV or JSONL file, each checked against the workflow before anything starts."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixart_fleet.errors import FleetError
from pixart_fleet.workflow import Place, Workflow

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_CAUSES = (ValueError, OverflowError)


@dataclass(frozen=True)
class Row:
    """What one line of the list sets."""

    line: int
    """Number in the file, from 1; the first line of a CSV row that has several."""
    values: dict[Place, Any]


def read_rows(path: Path, workflow: Workflow) -> list[Row]:
    """Read all rows. Raises FleetError for the first one that is bad, with its line.

    An empty cell of a CSV, or a key that a JSONL line leaves out, is the workflow's own value; a
    text may be empty.
    """
    reader = {".csv": _from_csv, ".jsonl": _from_jsonl}.get(path.suffix.lower())
    if reader is None:
        raise _unreadable(path, f"a file named {path.name}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, f"letters that are not UTF-8 in line {line}") from error
    rows = list(reader(text, path, workflow))
    if not rows:
        raise _unreadable(path, "no rows")
    return rows


def _from_csv(text: str, path: Path, workflow: Workflow) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines = _csv_lines(reader, path)
    try:
        line, header = next(lines)
    except StopIteration:
        return
    places = _places([name.strip() for name in header], path, line, workflow)
    for line, cells in lines:
        if len(cells) != len(places):
            raise _bad(
                path,
                line,
                f"{len(cells)} cells",
                f"{len(places)}, as in the first line",
                "put texts that have commas into quotation marks",
            )
        yield Row(
            line,
            {
                place: _parse(cell, name, workflow.kind(place), path, line)
                for name, place, cell in zip(header, places, cells, strict=True)
                if cell or workflow.kind(place) is str
            },
        )


def _csv_lines(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line's number of each row that is not empty, and its cells."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _bad(
                path, line, str(error), "a row of a CSV", "close its quotation marks"
            ) from error
        if cells:
            yield line, cells


def _from_jsonl(text: str, path: Path, workflow: Workflow) -> Iterator[Row]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            entry = json.loads(content)
        except (json.JSONDecodeError, RecursionError) as error:
            raise _bad(path, line, str(error), "one JSON object a line", "mend it") from error
        if not isinstance(entry, dict):
            raise _bad(
                path,
                line,
                f"a {type(entry).__name__}",
                "a JSON object",
                'write for example {"prompt": "a red circle"}',
            )
        named = {name: value for name, value in entry.items() if value is not None}
        places = _places(list(named), path, line, workflow)
        yield Row(
            line,
            {
                place: _typed(value, name, workflow.kind(place), path, line)
                for place, (name, value) in zip(places, named.items(), strict=True)
            },
        )


def _places(names: Sequence[str], path: Path, line: int, workflow: Workflow) -> list[Place]:
    places: list[Place] = []
    for name in names:
        place = workflow.place(name)
        if place is None:
            raise _unknown(name, path, line, workflow)
        if place in places:
            raise _bad(
                path,
                line,
                f"a second column for {'.'.join(place)}",
                "one for each input",
                "remove one of them",
            )
        places.append(place)
    return places


def _unknown(name: str, path: Path, line: int, workflow: Workflow) -> FleetError:
    several = workflow.ambiguous.get(name)
    if several:
        return _bad(
            path,
            line,
            f"the column {name!r}, which {len(several)} nodes have",
            f"one of {', '.join(several)}",
            "name the node too",
        )
    short = sorted(column for column in workflow.columns if "." not in column)
    return _bad(
        path,
        line,
        f"the column {name!r}",
        f"one of {', '.join(short)}, or node.input",
        "rename or remove it",
    )


def _parse(cell: str, name: str, kind: type, path: Path, line: int) -> Any:
    """Return the value that a CSV's cell stands for, of the type that the workflow has there."""
    try:
        if kind is bool:
            return _TRUTHS[cell.strip().lower()]
        value: Any = cell if kind is str else kind(cell.strip())
    except (*_CAUSES, KeyError) as error:
        raise _wrong(name, cell, kind, path, line) from error
    if kind is float and not math.isfinite(value):
        raise _wrong(name, cell, kind, path, line)
    return value


def _typed(value: Any, name: str, kind: type, path: Path, line: int) -> Any:
    """Return a JSON value, if it is of the type that the workflow has there."""
    if kind is float and type(value) in (int, float):
        try:
            number = float(value)
        except OverflowError as error:
            raise _wrong(name, value, kind, path, line) from error
        if math.isfinite(number):
            return number
    elif type(value) is kind:
        return value
    raise _wrong(name, value, kind, path, line)


def _wrong(name: str, value: Any, kind: type, path: Path, line: int) -> FleetError:
    return _bad(
        path, line, f"{str(value)[:60]!r} for {name}", _KINDS[kind], "correct it in the list"
    )


def _bad(path: Path, line: int, found: str, expected: str, do: str) -> FleetError:
    return FleetError(f"Could not use line {line} of {path}", found=found, expected=expected, do=do)


def _unreadable(path: Path, found: str) -> FleetError:
    return FleetError(
        f"Could not read the prompts of {path}",
        found=found,
        expected="a .csv with the names of its columns in the first line, or a .jsonl with an "
        "object a line, both in UTF-8",
        do="give another file with --prompts",
    )
