"""Self-attention among image tokens and cross-attention to the caption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from .config import KVCompression, NetworkConfig

_NORM_EPS = 1e-5
_MOST_SCORES = 2**21
"""Of a slice: 4 MB in bf16, so that a processor's cache holds them between the two products."""


class Attention(Protocol):
    """Computes softmax attention; the host's own functions have this form."""

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        heads: int,
        mask: Tensor | None = None,
        *,
        transformer_options: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """(B, N, C), (B, L, C), (B, L, C), additive mask (B, 1, N, L) -> (B, N, C)."""
        ...


def torch_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    mask: Tensor | None = None,
    *,
    transformer_options: Mapping[str, Any] | None = None,
) -> Tensor:
    """Attend with torch's own kernel; see ``Attention`` for the shapes."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))  # B H N D
    out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return out.transpose(1, 2).flatten(2)  # B N C


def sliced_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attend by plain products, some heads and queries at a time; see ``Attention`` for the shapes.

    On a processor with units for bf16 it takes .6 of the time of torch's kernel, which does not
    use them, and of the host's, whose scores leave the cache.
    """
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2).flatten(0, 1) for t in (q, k, v))
    # In order also where one row leaves a view, or each product would copy its part.
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    (pairs, tokens, size), keys = q.shape, k.shape[1]  # B * H, N, D
    rows = max(1, min(tokens, _MOST_SCORES // max(1, keys)))
    together = max(1, _MOST_SCORES // max(1, rows * keys))
    out, nothing, k = torch.empty_like(q), q.new_empty(()), k.transpose(1, 2)
    for first in range(0, pairs, together):
        these = slice(first, first + together)
        for start in range(0, tokens, rows):
            part = (these, slice(start, start + rows))
            scores = torch.baddbmm(nothing, q[part], k[these], beta=0, alpha=size**-0.5)
            out[part] = scores.softmax(-1) @ v[these]
    return out.unflatten(0, (-1, heads)).transpose(1, 2).flatten(2)  # B N C


def caption_mask(mask: Tensor, image_tokens: int, dtype: torch.dtype) -> Tensor:
    """Turn (B, L), 1 at real tokens, into an additive mask (B, 1, image_tokens, L).

    A row without any real token attends to all of them alike, as in diffusers.
    """
    bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    bias = bias.masked_fill(mask <= 0, torch.finfo(dtype).min)
    return bias[:, None, None, :].expand(-1, 1, image_tokens, -1)


class SelfAttention(nn.Module):
    """Attention of every image token to every other, or to fewer where the model compresses."""

    def __init__(
        self,
        config: NetworkConfig,
        layer: int,
        operations: Any,
        attention: Attention,
        **placement: Any,
    ) -> None:
        super().__init__()
        width, compression = config.hidden_size, config.kv_compression
        self.heads = config.heads
        self.attention = attention
        self.compression = compression if compression and layer in compression.layers else None
        self.qkv = operations.Linear(width, 3 * width, **placement)
        self.proj = operations.Linear(width, width, **placement)
        if config.qk_norm:
            self.q_norm = operations.LayerNorm(width, eps=_NORM_EPS, **placement)
            self.k_norm = operations.LayerNorm(width, eps=_NORM_EPS, **placement)
        if self.compression is not None and self.compression.mode == "conv":
            factor = self.compression.factor
            self.sr = operations.Conv2d(
                width, width, factor, stride=factor, groups=width, **placement
            )
            self.norm = operations.LayerNorm(width, eps=_NORM_EPS, **placement)

    def forward(self, x: Tensor, grid: tuple[int, int], options: Mapping[str, Any]) -> Tensor:
        """(B, N, C) -> (B, N, C); ``grid`` is the number of rows and columns of tokens."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if hasattr(self, "q_norm"):
            q, k = self.q_norm(q), self.k_norm(k)
        if self.compression is not None:
            k, v = (self._fewer(tokens, grid, self.compression) for tokens in (k, v))
        return self.proj(self.attention(q, k, v, self.heads, transformer_options=options))

    def _fewer(self, x: Tensor, grid: tuple[int, int], compression: KVCompression) -> Tensor:
        if compression.mode == "uniform_every":
            return x[:, :: compression.factor]
        picture = x.unflatten(1, grid)  # B h w C
        if compression.mode == "conv":
            reduced = self.sr(picture.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
            return self.norm(reduced)
        step = compression.factor
        if compression.mode == "ave":
            # It averages in name only: it interpolates by the nearest, which drops what is over.
            rows, columns = (side // step * step for side in grid)
            picture = picture[:, :rows, :columns]
        return picture[:, ::step, ::step].flatten(1, 2)


class CrossAttention(nn.Module):
    """Attention of every image token to the real tokens of its caption."""

    def __init__(
        self, hidden_size: int, heads: int, operations: Any, attention: Attention, **placement: Any
    ) -> None:
        super().__init__()
        self.heads = heads
        self.attention = attention
        self.q_linear = operations.Linear(hidden_size, hidden_size, **placement)
        self.kv_linear = operations.Linear(hidden_size, 2 * hidden_size, **placement)
        self.proj = operations.Linear(hidden_size, hidden_size, **placement)

    def forward(
        self, x: Tensor, caption: Tensor, mask: Tensor | None, options: Mapping[str, Any]
    ) -> Tensor:
        """(B, N, C), (B, L, C), additive mask (B, 1, N, L) -> (B, N, C)."""
        return self.attend(x, *self.keys_values(caption), mask, options)

    def keys_values(self, caption: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, C) -> keys and values, (B, L, C) each."""
        k, v = self.kv_linear(caption).chunk(2, dim=-1)
        return k, v

    def attend(
        self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, options: Mapping[str, Any]
    ) -> Tensor:
        """(B, N, C), keys and values (B, L, C), additive mask (B, 1, N, L) -> (B, N, C)."""
        out = self.attention(self.q_linear(x), k, v, self.heads, mask, transformer_options=options)
        return self.proj(out)
