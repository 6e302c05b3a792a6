"""Weights of a linear layer as they act, for who multiplies with them in another way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from torch import Tensor, nn

Weights = tuple[Tensor, Tensor]
"""Weight (out, in) and bias (out,)."""
WeightsOf = Callable[[nn.Module, Tensor], AbstractContextManager[Weights | None]]
"""Lends the weights of a linear layer as they act on a tensor; None where it cannot tell. They are
read inside the context alone: the host may take back their memory afterwards."""


@contextmanager
def plain_weights(layer: nn.Module, like: Tensor) -> Iterator[Weights | None]:
    """Lend the weights of a linear layer that holds them as they act."""
    yield (layer.weight, layer.bias) if isinstance(layer, nn.Linear) else None


@contextmanager
def lent(layer: nn.Module, like: Tensor, weights_of: WeightsOf) -> Iterator[Weights | None]:
    """Lend the weights of a layer, None where it does more than apply them."""
    if does_more(layer):
        yield None
        return
    with weights_of(layer, like) as found:
        yield found


def does_more(layer: nn.Module) -> bool:
    """Whether another node has put something of its own into a layer's call."""
    return "forward" in vars(layer) or bool(layer._forward_hooks or layer._forward_pre_hooks)
