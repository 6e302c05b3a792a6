"""The demo command's own parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools.demo import main
from devtools.failure import Failure


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_drawn(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("here already", encoding="utf-8")
    with pytest.raises(Failure, match=r"Could not make the folder .* give another one with --out"):
        main(["--out", str(file)])
    assert file.read_text(encoding="utf-8") == "here already"
