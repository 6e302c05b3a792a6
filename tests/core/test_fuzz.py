"""The fuzzer itself, a short run of it, and all that it ever found."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from safetensors import SafetensorError
from safetensors.torch import load

from devtools.environment import ROOT
from devtools.fuzz.command import ALL_READERS, CRASHES, fuzz
from devtools.fuzz.mutation import damaged
from devtools.fuzz.readers import READERS, Reader
from devtools.fuzz.trial import attempt

MINUTES = 1
BY_NAME = {reader.name: reader for reader in READERS}
FOUND = sorted(CRASHES.glob("*"))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_good_file_is_read(tmp_path: Path, reader: Reader) -> None:
    path = tmp_path / f"good{reader.suffix}"
    path.write_bytes(reader.good(tmp_path))
    assert reader.read(path) is not None


def test_damage_differs_and_is_the_seeds() -> None:
    good = READERS[0].good(Path())
    first, again, other = (damaged(good, random.Random(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_much_of_it_gets_past_the_library() -> None:
    good = BY_NAME["lora"].good(Path())
    passed = 0
    for seed in range(100):
        with suppress(SafetensorError):
            load(damaged(good, random.Random(seed)))
            passed += 1
    assert passed >= 30


def test_what_a_reader_does_not_bear_is_told() -> None:
    def fails(path: Path) -> object:
        return path.read_bytes()[99]

    crash = attempt(Reader("x", ".bin", lambda folder: b"", fails), b"x")
    assert crash is not None
    assert "IndexError" in crash.why


def test_a_short_run_finds_nothing() -> None:
    """The command itself, with a seed of its own, which it prints; what it finds it keeps."""
    command = [sys.executable, "-m", "devtools", "fuzz", "--minutes", str(MINUTES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    tried = re.findall(r"^(\S+) +(\d+) damaged files$", done.stdout, re.M)
    assert {name for name, _ in tried} == {reader.name for reader in ALL_READERS}
    assert min(int(count) for _, count in tried) >= 20


def test_what_is_found_is_kept(tmp_path: Path) -> None:
    def fails(path: Path) -> object:
        raise ZeroDivisionError

    reader = Reader("x", ".bin", lambda folder: b"0123456789", fails)
    tried, crashes = fuzz(1, 0.1, tmp_path, [reader])
    assert tried["x"] >= 1
    ((path, crash),) = crashes.items()
    assert "ZeroDivisionError" in crash.why
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_once_found_is_borne() -> None:
    """Those of the readers that need no host; the others' are tried with it."""
    own = [path for path in FOUND if path.name.rpartition("-")[0] in BY_NAME]
    assert own
    for path in own:
        reader = BY_NAME[path.name.rpartition("-")[0]]
        assert attempt(reader, path.read_bytes()) is None, path.name
