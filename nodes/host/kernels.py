"""The attention kernel for heads of 72, which the host's own order of kernels does not fit."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import Any

import comfy.cli_args
import comfy.ldm.modules.attention
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...pixart_core.network.attention import sliced_attention, torch_attention
from ...pixart_core.network.config import HEAD_SIZE
from ...pixart_core.network.matmul import onednn_multiplies
from .run import shortcuts_of

log = logging.getLogger("pixart")

OVERRIDE = "optimized_attention_override"
"""Where in ``transformer_options`` other nodes put an attention of their own."""

_HOPPER = (9, 0)
_FIRST = {
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
}
_THEN = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
_SHAPE = (2, 16, 4096, HEAD_SIZE)
"""A guided picture of 1024 px."""
_REPEATS = 5


def host_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    mask: Tensor | None = None,
    *,
    transformer_options: Mapping[str, Any] | None = None,
) -> Tensor:
    """Attend with what another node put in its place, else with the fastest exact kernel here."""
    options = transformer_options or {}
    if OVERRIDE not in options and shortcuts_of(options).kernel:
        if takes_torchs(q):
            return torch_attention(q, k, v, heads, mask)
        if mask is None and takes_slices(q):
            return sliced_attention(q, k, v, heads)
    out: Tensor = comfy.ldm.modules.attention.optimized_attention(
        q, k, v, heads, mask=mask, transformer_options=transformer_options
    )
    return out


def takes_torchs(q: Tensor) -> bool:
    """Whether torch's own call is faster than the host's, or the only one that can be compiled."""
    if q.device.type == "cpu":
        # It does not use a processor's units for bf16.
        return _is_default() and (q.dtype == torch.float32 or torch.compiler.is_compiling())
    return _uses_cudnn(q.device, q.dtype)


def takes_slices(q: Tensor) -> bool:
    """Whether plain products of slices are faster than the host's attention and torch's."""
    if comfy.cli_args.args.use_pytorch_cross_attention or torch.compiler.is_compiling():
        return False
    return q.dtype == torch.bfloat16 and onednn_multiplies(q.device, q.dtype) and _is_default()


@contextmanager
def best_kernel(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Put the fastest of torch's kernels first while a model runs."""
    if not _uses_cudnn(device, dtype):
        yield
        return
    with sdpa_kernel([*_FIRST.values(), *_THEN], set_priority=True):
        yield


def _is_default() -> bool:
    """Whether the host's attention is the one it takes where nobody chose."""
    attention, args = comfy.ldm.modules.attention, comfy.cli_args.args
    if args.use_split_cross_attention or args.use_quad_cross_attention:
        return False
    kinds = ("attention_pytorch", "attention_sub_quad")
    return any(attention.optimized_attention is getattr(attention, kind) for kind in kinds)


def _uses_cudnn(device: torch.device, dtype: torch.dtype) -> bool:
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    attention = comfy.ldm.modules.attention
    if attention.optimized_attention is not attention.attention_pytorch:
        return False
    return torch.cuda.get_device_capability(device) == _HOPPER and _cudnn_wins(device, dtype)


@lru_cache(maxsize=16)
def _cudnn_wins(device: torch.device, dtype: torch.dtype) -> bool:
    """Measure both kernels on a device, once in a process, and say in the log what was found."""
    seconds = {name: _seconds(kernel, device, dtype) for name, kernel in _FIRST.items()}
    wins = seconds["cuDNN"] < seconds["flash"]
    log.info(
        "Attention with heads of %d: cuDNN takes %.2f of flash attention's time; it is %s.",
        *(HEAD_SIZE, seconds["cuDNN"] / seconds["flash"], "used" if wins else "not used"),
    )
    return wins


def _seconds(kernel: SDPBackend, device: torch.device, dtype: torch.dtype) -> float:
    """Return the time of one attention; infinity where the kernel cannot do it."""
    q = torch.randn(_SHAPE, device=device, dtype=dtype)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(_REPEATS + 1)]
    try:
        with torch.cuda.device(device), sdpa_kernel(kernel):
            for event in events:
                torch.nn.functional.scaled_dot_product_attention(q, q, q)
                event.record()
            torch.cuda.synchronize(device)
    except RuntimeError as error:
        log.info("Attention with heads of %d cannot be done by %s: %s", HEAD_SIZE, kernel, error)
        return float("inf")
    return min(a.elapsed_time(b) for a, b in pairwise(events)) / 1000
