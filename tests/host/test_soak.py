"""A short soak, and what tells growth from noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from devtools.soak.command import main
from devtools.soak.usage import Usage, growth_of

EARLY = Usage(prompts=200, memory=10**9, handles=40, threads=20, temporary=3)


def test_a_mixed_queue_keeps_running(tmp_path: Path) -> None:
    assert main(["--prompts", "60", "--seed", "7", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "soak.png").is_file()


def test_growth_is_told() -> None:
    assert growth_of(EARLY, replace(EARLY, prompts=1000, memory=1_049_000_000), 0.05) == []
    grown = replace(EARLY, memory=1_051_000_000, handles=60, threads=21, temporary=4)
    assert len(growth_of(EARLY, grown, 0.05)) == 4
