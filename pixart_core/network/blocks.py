"""The transformer block with its shared adaptive norm, and the final layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .acting_weights import WeightsOf, does_more
from .attention import Attention, CrossAttention, SelfAttention
from .config import NetworkConfig
from .gelu import linear_gelu
from .kept_caption import KeptCross
from .modulation import NORM_EPS, RowModulation, SharedModulation, affine_norm, modulate


@dataclass(frozen=True)
class BlockMemory:
    """What one block need not compute, or not as it stands there; None is what it must."""

    modulation: SharedModulation | None = None
    cross: KeptCross | None = None
    mlp_weights: WeightsOf | None = None
    """Where the MLP may take its weights, to do in one call what are two layers."""


_NOTHING = BlockMemory()


class Mlp(nn.Module):
    """Two linear layers with GELU (tanh form) between."""

    def __init__(self, hidden_size: int, mlp_size: int, operations: Any, **placement: Any) -> None:
        super().__init__()
        self.fc1 = operations.Linear(hidden_size, mlp_size, **placement)
        self.act = nn.GELU(approximate="tanh")
        self.fc2 = operations.Linear(mlp_size, hidden_size, **placement)

    def forward(self, x: Tensor, weights_of: WeightsOf | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); with ``weights_of`` in fewer calls where that is possible."""
        wide = None
        if weights_of is not None:
            wide = linear_gelu(x, self.fc1, self.act, weights_of)
        return self.fc2(self.act(self.fc1(x)) if wide is None else wide)


class Block(nn.Module):
    """Self-attention and MLP under adaLN-single, with ungated cross-attention between."""

    def __init__(
        self,
        config: NetworkConfig,
        layer: int,
        operations: Any,
        attention: Attention,
        cross_attention: Attention | None = None,
        **placement: Any,
    ) -> None:
        super().__init__()
        width, heads = config.hidden_size, config.heads
        self.norm1 = _plain_norm(width, operations, **placement)
        self.attn = SelfAttention(config, layer, operations, attention, **placement)
        self.cross_attn = CrossAttention(
            width, heads, operations, cross_attention or attention, **placement
        )
        self.norm2 = _plain_norm(width, operations, **placement)
        self.mlp = Mlp(width, config.mlp_size, operations, **placement)
        self.scale_shift_table = nn.Parameter(torch.zeros(6, width, **placement))

    def forward(
        self,
        x: Tensor,
        caption: Tensor,
        modulation: Tensor,
        mask: Tensor | None,
        grid: tuple[int, int],
        options: Mapping[str, Any],
        kept: BlockMemory = _NOTHING,
    ) -> Tensor:
        """(B, N, C), (B, L, C), (B, 6, C), additive (B, 1, N, L) -> (B, N, C).

        ``grid`` is the number of rows and columns of tokens; what is ``kept`` of caption and
        modulation is taken in their place.
        """
        steps = kept.modulation or self._modulation(modulation)
        attended = self.attn(steps.before_attention(self.norm1, x), grid, options)
        x = torch.addcmul(x, steps.gate_msa, attended)
        if kept.cross is None:
            x = x + self.cross_attn(x, caption, mask, options)
        else:
            x = kept.cross.add_to(x, self.cross_attn, options)
        out = self._mlp(steps.before_mlp(self.norm2, x), kept.mlp_weights)
        return torch.addcmul(x, steps.gate_mlp, out)

    def _mlp(self, x: Tensor, weights_of: WeightsOf | None) -> Tensor:
        # What another node has put in its place is called as it always was.
        if weights_of is None or type(self.mlp) is not Mlp or does_more(self.mlp):
            return self.mlp(x)
        return self.mlp(x, weights_of)

    def _modulation(self, modulation: Tensor) -> RowModulation:
        table = self.scale_shift_table.to(modulation) + modulation
        return RowModulation(*table.chunk(6, dim=1))


class FinalLayer(nn.Module):
    """The last norm, modulated by the timestep embedding itself, and the projection to patches."""

    def __init__(self, config: NetworkConfig, operations: Any, **placement: Any) -> None:
        super().__init__()
        width = config.hidden_size
        self.norm_final = _plain_norm(width, operations, **placement)
        self.linear = operations.Linear(
            width, config.patch_size**2 * config.out_channels, **placement
        )
        self.scale_shift_table = nn.Parameter(torch.zeros(2, width, **placement))

    def forward(
        self, x: Tensor, time: Tensor, shared: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """(B, N, C), (B, C) -> (B, N, p * p * out_channels).

        ``shared``: shift and scale, its 1 added, (C,) each, where all rows have the same.
        """
        if shared is not None:
            shift, scale = shared
            return self.linear(affine_norm(x, scale, shift))
        table = self.scale_shift_table.to(time) + time.unsqueeze(1)
        shift, scale = table.chunk(2, dim=1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


def _plain_norm(width: int, operations: Any, **placement: Any) -> nn.Module:
    norm: nn.Module = operations.LayerNorm(
        width, elementwise_affine=False, eps=NORM_EPS, **placement
    )
    return norm
