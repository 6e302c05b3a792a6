"""A linear layer and its GELU in one call, where a processor's library does both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .acting_weights import Weights, WeightsOf, does_more, lent
from .matmul import onednn_multiplies


def linear_gelu(
    x: Tensor, layer: nn.Module, act: nn.Module, weights_of: WeightsOf
) -> Tensor | None:
    """Return the GELU of what a layer makes of (..., in), (..., out).

    It is as exact as the two by themselves, in bf16 more so: it rounds once. None where oneDNN is
    not what multiplies, where gradients are wanted or a compiler looks on, and where the two do
    more than apply weights and GELU.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return None
    if not onednn_multiplies(x.device, x.dtype) or type(act) is not nn.GELU or does_more(act):
        return None
    with lent(layer, x, weights_of) as found:
        if found is None or not _are_plain(found, x.dtype):
            return None
        # Torch's own compiler calls this, too; there is no public name for it.
        fused = torch.ops.mkldnn._linear_pointwise.default
        out: Tensor = fused(x, *found, "gelu", [], act.approximate)
    return out


def _are_plain(weights: Weights, dtype: torch.dtype) -> bool:
    """Whether weights are such as the library takes: the host's quantised ones are of other kinds.

    oneDNN is slow with weights in another order.
    """
    return all(
        type(t) in (Tensor, nn.Parameter) and t.dtype == dtype and t.is_contiguous()
        for t in weights
    )
