"""The transformer block with its shared adaptive norm, and the final layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .attention import Attention, CrossAttention, SelfAttention
from .config import NetworkConfig

_NORM_EPS = 1e-6


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift normed tokens: (B, N, C) with (B, 1, C) twice.

    Not as x * (1 + scale): in bf16 the 1 would swallow most digits of the scale.
    """
    return torch.addcmul(x, x, scale) + shift


class Mlp(nn.Module):
    """Two linear layers with GELU (tanh form) between."""

    def __init__(self, hidden_size: int, mlp_size: int, operations: Any, **placement: Any) -> None:
        super().__init__()
        self.fc1 = operations.Linear(hidden_size, mlp_size, **placement)
        self.act = nn.GELU(approximate="tanh")
        self.fc2 = operations.Linear(mlp_size, hidden_size, **placement)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.fc2(self.act(self.fc1(x)))


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
    ) -> Tensor:
        """(B, N, C), (B, L, C), (B, 6, C), additive (B, 1, N, L) -> (B, N, C).

        ``grid`` is the number of rows and columns of tokens.
        """
        table = self.scale_shift_table.to(modulation) + modulation
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = table.chunk(6, dim=1)
        normed = modulate(self.norm1(x), shift_msa, scale_msa)
        x = torch.addcmul(x, gate_msa, self.attn(normed, grid, options))
        x = x + self.cross_attn(x, caption, mask, options)
        return torch.addcmul(x, gate_mlp, self.mlp(modulate(self.norm2(x), shift_mlp, scale_mlp)))


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

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, N, C), (B, C) -> (B, N, p * p * out_channels)."""
        table = self.scale_shift_table.to(time) + time.unsqueeze(1)
        shift, scale = table.chunk(2, dim=1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


def _plain_norm(width: int, operations: Any, **placement: Any) -> nn.Module:
    norm: nn.Module = operations.LayerNorm(
        width, elementwise_affine=False, eps=_NORM_EPS, **placement
    )
    return norm
