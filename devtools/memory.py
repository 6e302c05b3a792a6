"""Anonymous memory of this process: what it holds beside mapped files."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

_STATUS = Path("/proc/self/status")
_SECONDS = 0.002


def anonymous_bytes() -> int:
    """Return the bytes of anonymous memory that are resident now (Linux)."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} has no RssAnon")


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
