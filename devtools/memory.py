"""Anonymous memory: what a process holds beside mapped files."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

_SECONDS = 0.002


def anonymous_bytes(process: int | str = "self") -> int:
    """Return the bytes of anonymous memory that a process has in use now (Linux)."""
    return _kilobytes(Path(f"/proc/{process}/status"), "RssAnon:") * 1024


def free_bytes() -> int:
    """Return the bytes of memory that a new process could have (Linux)."""
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable:") * 1024


def _kilobytes(path: Path, name: str) -> int:
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise RuntimeError(f"{path} has no {name}")


class PeakMemory:
    """Context manager that watches anonymous memory, some hundred times a second."""

    def __init__(self) -> None:
        self.before = 0
        self.peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def growth(self) -> int:
        """Bytes from before the block to its peak."""
        return self.peak - self.before

    def __enter__(self) -> PeakMemory:
        self.before = self.peak = anonymous_bytes()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        self.peak = max(self.peak, anonymous_bytes())

    def _watch(self) -> None:
        while not self._done.wait(_SECONDS):
            self.peak = max(self.peak, anonymous_bytes())
