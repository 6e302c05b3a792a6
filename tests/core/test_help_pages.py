"""Each node has its help page, with a picture, an example, a warning and its messages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "web" / "docs"
IDS = sorted(
    found
    for path in (ROOT / "nodes").glob("*.py")
    if path.name != "legacy.py"
    for found in re.findall(r'node_id="(\w+)"', path.read_text(encoding="utf-8"))
)
SECTIONS = ("## Outputs", "## Example", "## When not to use it", "## What its messages mean")


def test_there_are_as_many_pages_as_nodes() -> None:
    assert len(IDS) == 17
    assert sorted(path.stem for path in PAGES.glob("*.md")) == IDS
    assert sorted(path.stem for path in PAGES.glob("*.png")) == IDS


@pytest.mark.parametrize("kind", IDS)
def test_a_page_is_whole(kind: str) -> None:
    text = (PAGES / f"{kind}.md").read_text(encoding="utf-8")
    assert re.search(rf"^!\[.+\]\({kind}\.png\)$", text, re.MULTILINE)
    for section in SECTIONS:
        assert re.search(rf"^{section}$\n\n.", text, re.MULTILINE), section
    with Image.open(PAGES / f"{kind}.png") as picture:
        assert min(picture.size) > 80
