"""Whether an adapter's tensors fit each other and the weight that they are for."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import CheckpointError
from .reading import Adapter

_CORES = {
    "mid": ("up", "down"),
    "hada_t1": ("hada_w1_a", "hada_w1_b"),
    "hada_t2": ("hada_w2_a", "hada_w2_b"),
    "lokr_t2": ("lokr_w2_a", "lokr_w2_b"),
}
"""Tensors (rank, rank, height, width) of convolutions, with what stands on either side."""


def check_fit(adapter: Adapter) -> None:
    """Raise CheckpointError for a mismatch: the host would log it, and draw without the adapter."""
    found = _misfit(adapter)
    if found:
        rows, columns = _size(adapter)
        raise CheckpointError(
            f"The LoRA does not fit {adapter.module}",
            found=found,
            expected=f"a change of {rows} × {columns}",
            advice="Choose a LoRA that was trained for a PixArt of this size.",
        )


def difference(adapter: Adapter) -> Tensor | None:
    """Return the unscaled change of the weight, fp32, (rows, columns); None where it is no sum."""
    p = {name: part.float() for name, part in adapter.parts.items()}
    if any(core in p for core in _CORES):
        return None
    if adapter.kind == "LoRA":
        return p["up"].flatten(1) @ p["down"].flatten(1)
    if adapter.kind == "LoHa":
        return (p["hada_w1_a"] @ p["hada_w1_b"]) * (p["hada_w2_a"] @ p["hada_w2_b"])
    if adapter.kind == "LoKr":
        first = p["lokr_w1"] if "lokr_w1" in p else p["lokr_w1_a"] @ p["lokr_w1_b"]
        second = p["lokr_w2"] if "lokr_w2" in p else p["lokr_w2_a"] @ p["lokr_w2_b"]
        if second.ndim == 4:
            first = first[..., None, None]
        return torch.kron(first, second).flatten(1)
    return None


def is_by_columns(magnitude: Tensor) -> bool:
    """Whether a DoRA's magnitude has one number for each column, as LyCORIS has it: (1, columns).

    PEFT's of a convolution is (1, rows, 1, 1), by rows.
    """
    return magnitude.ndim > 1 and magnitude.shape[0] == 1 and magnitude.shape[-1] > 1


def _size(adapter: Adapter) -> tuple[int, int]:
    return adapter.target.shape[0], math.prod(adapter.target.shape[1:])


def _misfit(adapter: Adapter) -> str:
    """Return what does not fit, or nothing."""
    if adapter.rank == 0:
        return "parts of rank 0"
    tests = {"difference": _misfit_of_difference, "OFT": _misfit_of_blocks}
    misfit = tests.get(adapter.kind, _misfit_of_sum)
    return misfit(adapter) or _misfit_of_magnitude(adapter)


def _misfit_of_sum(adapter: Adapter) -> str:
    try:
        wrong = next((core for core in _CORES if not _core_fits(adapter, core)), None)
        if wrong is not None:
            return f"a part {wrong} of shape {tuple(adapter.parts[wrong].shape)}"
        change = difference(adapter)
    except (RuntimeError, KeyError, IndexError) as error:
        return f"parts that do not fit each other ({type(error).__name__})"
    if change is None or tuple(change.shape) == _size(adapter):
        return ""
    return f"parts that make {' × '.join(map(str, change.shape))}"


def _core_fits(adapter: Adapter, core: str) -> bool:
    if core not in adapter.parts:
        return True
    middle, (first, second) = adapter.parts[core], _CORES[core]
    sides = [adapter.parts[name] for name in (first, second)]
    # Of a LoRA the outer sides are (rows, rank) and (rank, columns), of LyCORIS' (rank, ...) both.
    ranks = (sides[0].shape[1] if core == "mid" else sides[0].shape[0], sides[1].shape[0])
    if not all(ranks) or middle.ndim != 4 or tuple(middle.shape[:2]) != ranks:
        return False
    rows, columns = _size(adapter)
    outer = math.prod(side.numel() // rank for side, rank in zip(sides, ranks, strict=True))
    inner = math.prod(middle.shape[2:])
    # LoKr's is one factor of a product.
    return core == "lokr_t2" or outer * inner == rows * columns


def _misfit_of_difference(adapter: Adapter) -> str:
    rows, columns = _size(adapter)
    counts = {"bias": rows, "diff": rows * columns}
    for name, count in counts.items():
        part = adapter.parts.get(name)
        if part is not None and part.numel() != count:
            return f"a part of shape {tuple(part.shape)}"
    return ""


def _misfit_of_blocks(adapter: Adapter) -> str:
    blocks = adapter.parts.get("oft_blocks")
    if blocks is None or (
        blocks.ndim == 3
        and blocks.shape[1] == blocks.shape[2]
        and blocks.shape[0] * blocks.shape[1] == _size(adapter)[0]
    ):
        return ""
    return f"blocks of shape {tuple(blocks.shape)}"


def _misfit_of_magnitude(adapter: Adapter) -> str:
    magnitude = adapter.parts.get("magnitude")
    if magnitude is None:
        return ""
    rows, columns = adapter.target.shape[:2]
    fitting = (columns,) if is_by_columns(magnitude) else (rows, columns)
    if magnitude.numel() in fitting:
        return ""
    return f"a magnitude of shape {tuple(magnitude.shape)}"
