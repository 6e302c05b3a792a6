"""Styles: words that are put around a prompt, and words to keep out of the picture."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .official_styles import OFFICIAL

_PLACE = "{prompt}"
_COLUMNS = ("name", "prompt", "negative_prompt")
_LONGEST_FILE = 4 * 2**20
"""Bytes; a table of styles is a few pages of text."""


@dataclass(frozen=True)
class Style:
    """One style."""

    name: str
    prompt: str
    """With ``{prompt}`` where the user's words go; they go first where it is absent."""
    negative: str
    official: bool = False

    def apply(self, prompt: str, negative: str) -> tuple[str, str]:
        """Return prompt and negative prompt in this style.

        The official styles put their negative right before the user's, as PixArt's demo pages do;
        own styles follow theirs after a comma, as Automatic1111 does.
        """
        if self.official:
            return self.prompt.replace(_PLACE, prompt), self.negative + negative
        return _placed(self.prompt, prompt), _placed(self.negative, negative)


@dataclass(frozen=True)
class StyleTable:
    """All styles that can be chosen, by name, and what was wrong with some rows."""

    styles: dict[str, Style]
    complaints: tuple[str, ...] = ()


def official_styles() -> dict[str, Style]:
    """Return the ten styles of PixArt's demo pages, in their order, the empty one first."""
    return {name: Style(name, prompt, negative, True) for name, prompt, negative in OFFICIAL}


def read_styles(path: Path) -> StyleTable:
    """Return the official styles and those of a table as Automatic1111 writes it.

    Columns ``name``, ``prompt``, ``negative_prompt``. A bad row is left out and named by its
    line, and so is a table that cannot be read; a missing one is no fault.
    """
    styles = official_styles()
    try:
        if path.stat().st_size > _LONGEST_FILE:
            return StyleTable(styles, (f"{path.name} is longer than {_LONGEST_FILE:,} bytes.",))
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_rows(list(file)))
    except FileNotFoundError:
        return StyleTable(styles)
    except UnicodeDecodeError:
        return StyleTable(styles, (f"{path.name} cannot be read: save it as UTF-8.",))
    except (OSError, csv.Error) as error:
        return StyleTable(styles, (f"{path.name} cannot be read: {error}.",))
    complaints = []
    for line, fields in rows:
        found = fields if isinstance(fields, str) else _style(fields, styles)
        if isinstance(found, Style):
            styles[found.name] = found
        elif found:
            complaints.append(f"{path.name}, line {line}: {found}")
    return StyleTable(styles, tuple(complaints))


def _rows(lines: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Yield the line on which each row begins, and its fields or what is wrong with them.

    A row that cannot be read, with a quote left open say, takes no other row with it. Raises
    csv.Error where the first line does not name the columns.
    """
    head: list[str] | None = None
    at = 0
    while at < len(lines):
        reader = csv.reader((lines[i] for i in range(at, len(lines))), strict=True)
        begin = at
        try:
            fields = next(reader)
            at += reader.line_num
        except csv.Error as error:
            at += 1
            yield begin + 1, f"{error}; check its quotes."
            continue
        if head is None:
            head = _head(fields)
        elif len(fields) > len(head):
            yield begin + 1, "it has more fields than the first line; put text in quotes."
        else:
            yield begin + 1, dict(zip(head, fields, strict=False))


def _head(fields: list[str]) -> list[str]:
    names = [name.strip().lower() for name in fields]
    if "name" in names and "prompt" in names:
        return names
    raise csv.Error(f"its first line should name the columns {', '.join(_COLUMNS)}")


def _style(fields: dict[str, str], known: dict[str, Style]) -> Style | str:
    """Return the style of a row, or what is wrong with it; nothing for an empty row."""
    name = fields.get("name", "").strip()
    if not any(value.strip() for value in fields.values()):
        return ""
    if not name:
        return "the style has no name."
    if name in known:
        return f"there is a style {name} already."
    if "prompt" not in fields:
        return f"the style {name} has no prompt."
    return Style(name, fields["prompt"], fields.get("negative_prompt", ""))


def _placed(template: str, text: str) -> str:
    if _PLACE in template:
        return template.replace(_PLACE, text)
    return ", ".join(part for part in (text.strip(), template.strip()) if part)
