"""One damaged file given to a reader, in a process whose memory and time are limited."""

from __future__ import annotations

import resource
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from devtools.memory import PeakMemory
from pixart_core.errors import PixArtError

from .readers import Reader

MOST_SECONDS = 10
MOST_BYTES = 2**29
"""Of memory that the reading of a file of a few hundred kilobytes may take."""


@dataclass(frozen=True)
class Crash:
    """What a reader did not bear."""

    reader: str
    why: str


def attempt(reader: Reader, content: bytes) -> Crash | None:
    """Give a file to a reader; return what went wrong, None where it was read or refused."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"fuzzed{reader.suffix}"
        path.write_bytes(content)
        began = time.monotonic()
        try:
            with PeakMemory() as memory, _alarm():
                reader.read(path)
        except PixArtError as error:
            if ": found " not in str(error):
                return Crash(reader.name, f"a refusal without its parts: {error}")
        except (KeyboardInterrupt, SystemExit):
            raise
        # Native code's panics are no Exception.
        except BaseException:
            return Crash(reader.name, traceback.format_exc(limit=-3))
    if memory.growth > MOST_BYTES:
        return Crash(reader.name, f"{memory.growth / 1e6:.0f} MB for {len(content)} bytes")
    if time.monotonic() - began > MOST_SECONDS:
        return Crash(reader.name, f"{time.monotonic() - began:.0f} s for {len(content)} bytes")
    return None


def limit_memory(nbytes: int) -> None:
    """Let allocations beyond so many bytes fail in this process, rather than fill the machine."""
    resource.setrlimit(resource.RLIMIT_AS, (nbytes, nbytes))


class _TooLongError(Exception):
    pass


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise _TooLongError(f"still at it after {2 * MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(2 * MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
