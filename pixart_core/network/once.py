"""Results that are given back for as long as what they were made of is the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

_MOST = 12


class Once:
    """Makes a tensor of tensors once, and again only where one of them has changed.

    What it makes counts its changes even in inference mode: whoever changes it gets a new one in
    the next step.
    """

    def __init__(self) -> None:
        self._made: list[tuple[Hashable, Sequence[Tensor], list[int], Tensor]] = []

    def __call__(
        self, what: Hashable, tensors: Sequence[Tensor], make: Callable[[], Tensor]
    ) -> Tensor:
        """Return ``make()``, or what it returned for the same ``what`` and ``tensors``."""
        for known, sources, versions, result in self._made:
            if known != what or not _are_same(sources, tensors) or -1 in versions:
                continue
            if versions == _versions(*tensors, result):
                return result
        with torch.inference_mode(False), torch.no_grad():
            result = make()
        entry = (what, list(tensors), _versions(*tensors, result), result)
        self._made = [*self._made[1 - _MOST :], entry]
        return result


def version_of(tensor: Tensor) -> int:
    """Return how often a tensor was changed; -1 where it does not count."""
    return -1 if tensor.is_inference() else tensor._version


def counting(tensor: Tensor) -> Tensor:
    """Return a tensor that counts its changes: the same one, or a copy of an inference tensor."""
    if not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()


def _versions(*tensors: Tensor) -> list[int]:
    return [version_of(tensor) for tensor in tensors]


def _are_same(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))
