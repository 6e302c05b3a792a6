"""Which processes there are, read from /proc."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def living() -> dict[int, Path]:
    """The folders of all processes that have not ended."""
    found = {int(path.name): path for path in Path("/proc").iterdir() if path.name.isdigit()}
    return {pid: path for pid, path in found.items() if not _has_ended(path)}


def marked(mark: str) -> dict[int, str]:
    """The processes with ``mark`` in their environment, and their command lines."""
    return {pid: _read(path / "cmdline") for pid, path in living().items() if _has(path, mark)}


def hosts(mark: str) -> list[int]:
    """The hosts among them."""
    return [pid for pid, command in marked(mark).items() if "tether.py" in command]


def ancestors(pid: int) -> list[int]:
    """A process's parent, that one's parent, and so on."""
    found = []
    while pid > 1:
        fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
        pid = int(fields[1]) if fields else 0
        found.append(pid)
    return found


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until something is true; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)


def _has(path: Path, mark: str) -> bool:
    return mark in _read(path / "environ")


def _has_ended(path: Path) -> bool:
    status = _read(path / "status")
    return not status or "\nState:\tZ" in status


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""
