"""Too little memory: a sentence that says what to change, and the memory given back."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import comfy.model_management
import torch

from ...pixart_core.errors import PixArtError
from ...pixart_core.memory import give_back

_SIGNS = ("allocate memory", "not enough memory", "out of memory", "bad allocation")
"""How torch's allocators say it, on processors and cards, in whatever exception."""


class MemoryShortError(PixArtError):
    """There is too little memory for what was asked."""


@contextmanager
def room_for(failed: str, advice: str) -> Iterator[None]:
    """Raise MemoryShortError where the block runs out of memory, with nothing of it kept."""
    found = ""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_short(error):
            raise
        found = _said(error)
    if found:
        # Not within the except block: the error would keep all that was being computed.
        comfy.model_management.unload_all_models()
        gc.collect()
        comfy.model_management.soft_empty_cache()
        give_back()
        raise MemoryShortError(
            failed,
            found=f"too little memory ({found})",
            expected="room for it, in main memory or on the card",
            advice=advice,
        )


def _is_short(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(sign in str(error).lower() for sign in _SIGNS)


def _said(error: Exception) -> str:
    """Return what the allocator said, in a line."""
    text = str(error).strip() or "it did not say how much was asked for"
    return text.splitlines()[0].rstrip(".")[:160]
