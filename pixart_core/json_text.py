"""JSON from files of unknown origin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LARGEST = 10_000_000
"""Most bytes: an index of a large model has 100,000."""


def parse_json(text: str) -> Any:
    """Return what JSON says. Raises ValueError for what is none, or too long or deep to read."""
    if len(text) > LARGEST:
        raise ValueError(f"{len(text):,} letters")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("lists within lists without end") from error


def read_json(path: Path) -> Any:
    """Return what a file of JSON says. Raises ValueError as `parse_json` does, and OSError."""
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{size:,} bytes")
    return parse_json(path.read_text(encoding="utf-8"))
