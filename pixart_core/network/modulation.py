"""adaLN-single: what timestep and size do to the norms of a block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPS = 1e-6


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift normed tokens: (B, N, C) with (B, 1, C) twice.

    Not as x * (1 + scale): in bf16 the 1 would swallow most digits of the scale.
    """
    return torch.addcmul(x, x, scale) + shift


@dataclass(frozen=True)
class RowModulation:
    """Shift, scale and gate of each row, (B, 1, C) each."""

    shift_msa: Tensor
    scale_msa: Tensor
    gate_msa: Tensor
    shift_mlp: Tensor
    scale_mlp: Tensor
    gate_mlp: Tensor

    def before_attention(self, norm: nn.Module, x: Tensor) -> Tensor:
        """Norm and modulate tokens (B, N, C)."""
        return modulate(norm(x), self.shift_msa, self.scale_msa)

    def before_mlp(self, norm: nn.Module, x: Tensor) -> Tensor:
        """Norm and modulate tokens (B, N, C)."""
        return modulate(norm(x), self.shift_mlp, self.scale_mlp)


@dataclass(frozen=True)
class SharedModulation:
    """The same where all rows have one timestep and one size: (C,) each, scales with their 1.

    Norm and modulation are then one LayerNorm, with fewer roundings than two.
    """

    shift_msa: Tensor
    scale_msa: Tensor
    gate_msa: Tensor
    shift_mlp: Tensor
    scale_mlp: Tensor
    gate_mlp: Tensor

    def before_attention(self, norm: nn.Module, x: Tensor) -> Tensor:
        """Norm and modulate tokens (B, N, C)."""
        return affine_norm(x, self.scale_msa, self.shift_msa)

    def before_mlp(self, norm: nn.Module, x: Tensor) -> Tensor:
        """Norm and modulate tokens (B, N, C)."""
        return affine_norm(x, self.scale_mlp, self.shift_mlp)


def affine_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Norm tokens (B, N, C) and give them a weight and a bias (C,)."""
    return functional.layer_norm(x, weight.shape, weight, bias, NORM_EPS)


def shared_modulations(
    tables: Tensor, modulation: Tensor, dtype: torch.dtype
) -> list[SharedModulation]:
    """Return the modulation of each block from tables (depth, 6, C) fp32 and (1, 6, C)."""
    sums = tables + modulation.float()
    sums[:, [1, 4]] += 1
    weights = sums.to(norm_dtype(sums, dtype))
    found = []
    for norms, gates in zip(weights.unbind(), sums.to(dtype).unbind(), strict=True):
        shift_msa, scale_msa, _, shift_mlp, scale_mlp, _ = norms.unbind()
        found.append(
            SharedModulation(shift_msa, scale_msa, gates[2], shift_mlp, scale_mlp, gates[5])
        )
    return found


def norm_dtype(like: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Return the best precision for the weights of a norm of tokens of ``dtype``."""
    # A graphics card's LayerNorm takes weights of the tokens' own precision alone.
    return torch.float32 if like.device.type == "cpu" else dtype
