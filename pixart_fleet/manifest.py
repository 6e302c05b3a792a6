"""The record of a run: ``manifest.jsonl``, a line for each row that has ended.

Lines are only ever appended, and a line counts once it lies on the disk. A driver that is killed
while it writes leaves a torn last line at worst, which counts as not written.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any

from pixart_fleet.errors import FleetError

DONE, FAILED = "done", "failed"
NAME = "manifest.jsonl"
_UNFINISHED = ".part"


@dataclass(frozen=True)
class Entry:
    """How one job ended."""

    id: str
    status: str
    """``done`` or ``failed``."""
    lines: tuple[int, ...]
    """The rows of the list that asked for it."""
    files: tuple[str, ...] = ()
    """What was drawn, beside the manifest."""
    error: str = ""
    """Why not, in the host's words."""
    tries: int = 1
    seconds: float = 0.0
    """From the host's start on it to its end; of the whole batch, if it came in one."""
    batch: int = 1
    """How many were drawn together."""
    node: str = ""
    """Where."""


class Manifest:
    """The manifest of a folder, held by one run at a time; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME
        self._file: BufferedRandom | None = None

    def __enter__(self) -> Manifest:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
        except OSError as error:
            raise FleetError(
                f"Could not write into {self.folder}",
                found=error.strerror or str(error),
                expected="a folder that can be written to",
                do="give another one with --out",
            ) from error
        self._lock()
        self._drop_torn_line()
        for path in self.folder.glob(f"*{_UNFINISHED}"):
            path.unlink()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._file is not None
        self._file.close()

    def entries(self) -> list[Entry]:
        """Return the last entry of each job. Raises FleetError for a line that is none."""
        assert self._file is not None
        self._file.seek(0)
        found: dict[str, Entry] = {}
        for number, line in enumerate(self._file, 1):
            entry = self._read(line, number)
            found[entry.id] = entry
        return list(found.values())

    def done(self) -> set[str]:
        """Return the jobs that were drawn and whose files are still there."""
        present = {path.name for path in self.folder.iterdir()}
        return {e.id for e in self.entries() if e.status == DONE and present.issuperset(e.files)}

    def append(self, entries: Iterable[Entry]) -> None:
        """Write entries, and return when they lie on the disk."""
        assert self._file is not None
        text = "".join(json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries)
        self._file.write(text.encode("utf-8", "backslashreplace"))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, line: bytes, number: int) -> Entry:
        try:
            fields: dict[str, Any] = json.loads(line)
            return Entry(**{**fields, **{k: tuple(fields[k]) for k in ("lines", "files")}})
        except (ValueError, TypeError, KeyError) as error:
            raise FleetError(
                f"Could not read line {number} of {self.path}",
                found=str(error),
                expected="the record of a row, as this program writes it",
                do="remove that line, and its row is drawn again",
            ) from error

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows: two runs in one folder are the user's to avoid
            return
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise FleetError(
                f"Could not begin a run in {self.folder}",
                found="another run that writes there",
                expected="one at a time",
                do="wait for its end, or give another folder with --out",
            ) from error

    def _drop_torn_line(self) -> None:
        """Cut off what stands after the last line's end."""
        assert self._file is not None
        self._file.seek(0)
        whole = self._file.read()
        kept = whole.rfind(b"\n") + 1
        if kept < len(whole):
            self._file.truncate(kept)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there either whole, on the disk, or not at all."""
    number, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=_UNFINISHED)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(part).chmod(0o644)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Return when the names of a folder's new files lie on the disk."""
    with _opened(folder) as number:
        os.fsync(number)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    number = os.open(folder, os.O_RDONLY)
    try:
        yield number
    finally:
        os.close(number)
