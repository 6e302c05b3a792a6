"""Memory that goes back to the system when it is no longer needed."""

from __future__ import annotations

import ctypes
import mmap
import sys

import torch
from torch import Tensor

_SMALL = 2**18
"""Bytes below which a tensor shares pages with others."""


def in_own_memory(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return a copy on the CPU, in ``dtype`` if given, that lies in a mapping of its own.

    C libraries keep what they were given back for the next allocation (glibc all up to 32 MB), so
    that a text encoder of many small tensors would leave a hole of gigabytes behind.
    """
    dtype = dtype or tensor.dtype
    size = tensor.numel() * dtype.itemsize
    if size < _SMALL:
        return tensor.to("cpu", dtype, copy=True)
    own = torch.frombuffer(_mapping(size), dtype=torch.uint8).view(dtype)
    return own.view(tensor.shape).copy_(tensor)


def _mapping(size: int) -> mmap.mmap:
    # Windows has no such flags, and maps privately without them.
    if hasattr(mmap, "MAP_ANONYMOUS"):
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)


def give_back() -> None:
    """Return to the system what glibc keeps of freed memory; other C libraries keep little."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
