"""What a server's process has in use, and whether it grows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devtools.memory import anonymous_bytes

_SPARE_HANDLES = 8
"""Connections of clients that are just being closed."""


@dataclass(frozen=True)
class Usage:
    """At one moment."""

    prompts: int
    """How many had run until then."""
    memory: int
    """Bytes of anonymous memory."""
    handles: int
    threads: int
    temporary: int
    """Files in the host's temp folder."""


def usage_of(pid: int, base: Path, prompts: int) -> Usage:
    """Return what a process has in use (Linux)."""
    process = Path(f"/proc/{pid}")
    return Usage(
        prompts,
        anonymous_bytes(pid),
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
        sum(1 for path in (base / "temp").rglob("*") if path.is_file()),
    )


def growth_of(early: Usage, late: Usage, most: float) -> list[str]:
    """Say what has grown from one moment to another: memory by more than the share ``most``."""
    found = []
    share = late.memory / early.memory - 1
    if share > most:
        found.append(f"memory grew by {share:.1%}, expected at most {most:.0%}")
    for name, spare in (("handles", _SPARE_HANDLES), ("threads", 0), ("temporary", 0)):
        before, after = getattr(early, name), getattr(late, name)
        if after > before + spare:
            found.append(f"{name} grew from {before} to {after}")
    return found
