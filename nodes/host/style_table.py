"""The user's table of styles."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import folder_paths

from ...pixart_core.errors import PixArtError
from ...pixart_core.text.styles import StyleTable, read_styles
from .files import stamp_of

log = logging.getLogger("pixart")


@dataclass(frozen=True)
class StyledPrompt:
    """A prompt in a style."""

    prompt: str
    negative: str
    complaints: tuple[str, ...]
    """Rows of the table that cannot be used."""


def styles() -> StyleTable:
    """Return the official styles and the user's, as they are now."""
    return _read(_path(), fingerprint())


@lru_cache(maxsize=1)
def _read(path: Path, stamp: str) -> StyleTable:
    # The host asks for the names of all styles dozens of times for one prompt.
    return read_styles(path)


def fingerprint() -> str:
    """Return a text that changes when the table is edited."""
    return stamp_of(_path())


def apply(style: str, prompt: str, negative: str) -> StyledPrompt:
    """Put a style's words around a prompt; raise PixArtError for a style that is gone."""
    table = styles()
    for complaint in table.complaints:
        log.warning("%s", complaint)
    if style not in table.styles:
        raise PixArtError(
            f"The style {style} cannot be applied",
            found="no style of that name",
            expected=f"one of {', '.join(table.styles)}",
            advice=f"Choose another one, or add a row to {_path()}.",
        )
    return StyledPrompt(*table.styles[style].apply(prompt, negative), table.complaints)


def _path() -> Path:
    return Path(folder_paths.get_user_directory()) / "styles.csv"
