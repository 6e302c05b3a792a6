"""A linear layer and its GELU in one call, where a processor's library does both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .kept_caption import WeightsOf, does_more
from .matmul import has_bf16_units, is_onednn_chosen


def linear_gelu(x: Tensor, layer: nn.Module, weights_of: WeightsOf) -> Tensor | None:
    """Return the GELU (tanh form) of what a layer makes of (..., in), (..., out).

    It is as exact as the two by themselves, in bf16 more so: it rounds once. None where oneDNN is
    not what multiplies, and where the layer does more than apply its weights.
    """
    if not _is_fused(x.device, x.dtype) or does_more(layer):
        return None
    found = weights_of(layer, x)
    # The host's quantised weights are tensors of other kinds.
    if found is None or any(type(t) not in (Tensor, nn.Parameter) for t in found):
        return None
    if any(t.dtype != x.dtype for t in found):
        return None
    # Torch's own compiler calls this, too; there is no public name for it.
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, *found, "gelu", [], "tanh")
    return out


def _is_fused(device: torch.device, dtype: torch.dtype) -> bool:
    if device.type != "cpu" or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if not torch.backends.mkldnn.is_available():
        return False
    return has_bf16_units() if dtype == torch.bfloat16 else is_onednn_chosen(dtype)
