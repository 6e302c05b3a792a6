"""The record of a run: durable, for one run at a time, and whole after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pixart_fleet.errors import FleetError
from pixart_fleet.manifest import DONE, FAILED, Entry, Manifest, write_whole

ENTRIES = [
    Entry("a", DONE, (2, 3), ("a.png",), tries=2, seconds=0.5, batch=4, node="here"),
    Entry("b", FAILED, (4,), error="KSampler: “no”\nat all \ud800", tries=3),
]


def test_entries_come_back_and_the_last_one_counts(tmp_path: Path) -> None:
    again = Entry("b", DONE, (4,), ("b.png",))
    with Manifest(tmp_path) as manifest:
        manifest.append(ENTRIES)
        (tmp_path / "a.png").touch()
        assert manifest.done() == {"a"}
        manifest.append([again])
        assert manifest.entries() == [ENTRIES[0], again]
        assert manifest.done() == {"a"}, "a file that is gone is to be drawn again"
    assert len((tmp_path / "manifest.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_a_torn_last_line_counts_as_not_written(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.append(ENTRIES)
    path = tmp_path / "manifest.jsonl"
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    (tmp_path / "a.png").touch()
    for cut in range(first, len(whole)):
        path.write_bytes(whole[:cut])
        with Manifest(tmp_path) as manifest:
            assert manifest.done() == {"a"}
            manifest.append(ENTRIES[1:])
        assert path.read_bytes() == whole


def test_a_line_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"id": 3}\n', encoding="utf-8")
    with Manifest(tmp_path) as manifest, pytest.raises(FleetError, match="Could not read line 1"):
        manifest.entries()


def test_two_runs_cannot_write_one_manifest(tmp_path: Path) -> None:
    with Manifest(tmp_path), pytest.raises(FleetError, match="another run that writes there"):
        Manifest(tmp_path).__enter__()
    with Manifest(tmp_path) as manifest:
        assert manifest.entries() == []


_ENDLESS = """
import sys
from pathlib import Path
from pixart_fleet.manifest import DONE, Entry, Manifest, write_whole
folder = Path(sys.argv[1])
with Manifest(folder) as manifest:
    for number in range(10**6):
        write_whole(folder / f"{number}.png", b"x" * 100_000)
        manifest.append([Entry(str(number), DONE, (number,), (f"{number}.png",))])
        print(number, flush=True)
"""


def test_a_kill_leaves_whole_files_and_whole_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _ENDLESS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(25):
            said = child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
    with Manifest(tmp_path) as manifest:
        done = manifest.done()
        assert {str(number) for number in range(int(said) + 1)} <= done
    assert {path.stat().st_size for path in tmp_path.glob("*.png")} == {100_000}
    assert not list(tmp_path.glob(".*")), "what was half written is cleared away"


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    with pytest.raises(OSError, match=r"x\.png"):
        write_whole(tmp_path / "x.png", b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
