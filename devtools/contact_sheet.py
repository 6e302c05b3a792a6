"""Many pictures on one, each marked green or red."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

_CELL = 96
_MARK_HEIGHT = 5
_GAP = 3
_COLUMNS = 20
_MARKS = {True: (40, 170, 70), False: (220, 30, 30), None: (120, 120, 120)}


def contact_sheet(pictures: Sequence[tuple[Image.Image, bool | None]]) -> Image.Image:
    """Return the pictures in rows, with a mark below that says right, wrong or not judged."""
    width, height = _CELL + _GAP, _CELL + _MARK_HEIGHT + _GAP
    rows = -(-len(pictures) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * width, rows * height), "white")
    for i, (picture, is_right) in enumerate(pictures):
        x, y = i % _COLUMNS * width, i // _COLUMNS * height
        thumb = picture.copy()
        thumb.thumbnail((_CELL, _CELL))
        sheet.paste(thumb, (x + (_CELL - thumb.width) // 2, y + (_CELL - thumb.height) // 2))
        sheet.paste(_MARKS[is_right], (x, y + _CELL, x + _CELL, y + _CELL + _MARK_HEIGHT))
    return sheet
