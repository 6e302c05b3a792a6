"""Which of torch's two libraries multiplies fp32 matrices on a processor."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

log = logging.getLogger("pixart")

_PLAIN = "highest"
_ONEDNN = "medium"
"""With it torch hands fp32 to oneDNN, which may round to bf16 where it has units for that. Whether
it does is measured."""
_MOST_ERROR = 1e-6
"""Relative L2; fp32 itself has some 3e-7, products of bf16 2e-3."""
_SLOW_FOR = "AuthenticAMD"
"""Whose processors the default, Intel's own library, serves badly: oneDNN takes .5 to .9 of its
time there. Time is measured for the log alone: if it chose, chance would, and with it the last bits
of a picture, from one start of the host to the next."""
_TELLING_GAIN = 1.5
_REPEATS = 4
_ROWS, _WIDTHS = 256, ((1152, 4608),)


@dataclass(frozen=True)
class Measured:
    """What was found of one library, or of one precision."""

    seconds: float
    """Of this thread's time, so that others at work do not count."""
    error: float
    """Relative L2."""


@contextmanager
def fast_matmul(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Multiply fp32 matrices by oneDNN on processors where that is faster, and as exact.

    The setting is torch's own and for the whole process; it is put back afterwards, and left alone
    where somebody has set it.
    """
    before = torch.get_float32_matmul_precision()
    if device.type != "cpu" or dtype != torch.float32 or before != _PLAIN or not onednn_wins():
        yield
        return
    torch.set_float32_matmul_precision(_ONEDNN)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def onednn_multiplies(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch gives products of this precision to oneDNN on such a device.

    In fp32 it does where its setting lets it, and the processor is one that oneDNN's bf16 could
    run on; in bf16 it is asked for units, too, without which nothing is gained.
    """
    if device.type != "cpu" or dtype not in (torch.float32, torch.bfloat16):
        return False
    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.backends.mkldnn.enabled
    if not known or asked is None or not asked():
        return False
    if dtype == torch.bfloat16:
        return has_bf16_units()
    return torch.get_float32_matmul_precision() == _ONEDNN


@lru_cache(maxsize=1)
def onednn_wins() -> bool:
    """Measure both libraries, once in a process, and say in the log what was found."""
    found = measure()
    plain, onednn, bf16 = found["plain"], found["onednn"], found["bf16"]
    wins = onednn.error <= _MOST_ERROR and _SLOW_FOR in processor()
    log.info(
        "fp32 matrices: oneDNN takes %.2f of the default's time and is off by %.1e, where the "
        "default is off by %.1e; it is %s.",
        *(onednn.seconds / plain.seconds, onednn.error, plain.error),
        "used" if wins else "not used",
    )
    gain = (onednn if wins else plain).seconds / bf16.seconds
    if gain > _TELLING_GAIN:
        log.info(
            "In bf16 this processor multiplies %.1f times as fast, and less exactly: Weight "
            "precision of Load PixArt Model has it.",
            gain,
        )
    return wins


def processor() -> str:
    """Return what the system says of its processor, with its maker."""
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8") if info.exists() else platform.processor()


def has_bf16_units() -> bool:
    """Whether this processor multiplies bf16 by itself, as far as torch can tell."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


def measure() -> dict[str, Measured]:
    """Return time and error of "plain", "onednn" and "bf16" on matrices as the model has them."""
    generator = torch.Generator().manual_seed(0)
    pairs = [
        (
            torch.randn(_ROWS, width, generator=generator),
            torch.randn(out, width, generator=generator),
        )
        for width, out in _WIDTHS
    ]
    exact = [x.double() @ weight.double().T for x, weight in pairs]
    halved = [(x.bfloat16(), weight.bfloat16()) for x, weight in pairs]
    kinds = {
        "plain": (_PLAIN, pairs),
        "onednn": (_ONEDNN, pairs),
        "bf16": (_PLAIN, halved),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    errors: dict[str, float] = {}
    before = torch.get_float32_matmul_precision()
    try:
        # In turns, so that what else the machine does meets all of them.
        for _ in range(_REPEATS):
            for name, (precision, matrices) in kinds.items():
                torch.set_float32_matmul_precision(precision)
                began = time.thread_time()
                found = [functional.linear(x, weight) for x, weight in matrices]
                times[name].append(time.thread_time() - began)
                errors[name] = max(map(_error, found, exact))
    finally:
        torch.set_float32_matmul_precision(before)
    return {name: Measured(min(times[name]), errors[name]) for name in kinds}


def _error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())
