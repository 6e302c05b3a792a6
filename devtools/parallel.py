"""Tests in two processes, each with one core."""

from __future__ import annotations

import os

_OPTIONS = ("--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder")
"""Files stay whole, since fixtures of a file are dear, and begin in the order that is asked for."""
_VARIABLES = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def in_parallel() -> tuple[tuple[str, ...], dict[str, str]]:
    """Return options of pytest and variables of its process; none where there is one core."""
    return (_OPTIONS, _VARIABLES) if (os.cpu_count() or 1) > 1 else ((), {})
