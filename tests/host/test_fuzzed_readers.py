"""The fuzzer's readers that need the host, and all that it ever found with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools.fuzz.command import ALL_READERS, CRASHES
from devtools.fuzz.host_readers import HOST_READERS
from devtools.fuzz.readers import Reader
from devtools.fuzz.trial import attempt

from .older_hosts import need_int8

FOUND = {path: path.name.rpartition("-")[0] for path in sorted(CRASHES.glob("*"))}


@pytest.mark.parametrize("reader", HOST_READERS, ids=lambda reader: reader.name)
def test_a_good_file_is_read(tmp_path: Path, reader: Reader) -> None:
    need_int8(reader.name)
    path = tmp_path / f"good{reader.suffix}"
    path.write_bytes(reader.good(tmp_path))
    assert reader.read(path) is not None


@pytest.mark.parametrize("reader", HOST_READERS, ids=lambda reader: reader.name)
def test_a_file_cut_short_is_refused(tmp_path: Path, reader: Reader) -> None:
    path = tmp_path / f"cut{reader.suffix}"
    good = reader.good(tmp_path)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(ValueError, match=r": found .*, expected "):
        reader.read(path)


def test_what_was_once_found_is_borne() -> None:
    assert set(FOUND.values()) <= {reader.name for reader in ALL_READERS}
    for reader in HOST_READERS:
        for path in (path for path, name in FOUND.items() if name == reader.name):
            assert attempt(reader, path.read_bytes()) is None, path.name
