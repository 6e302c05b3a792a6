"""What enters the transformer: image patches, timestep, picture size and caption."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .config import FREQUENCY_SIZE
from .positions import scalar_embedding


class PatchEmbedder(nn.Module):
    """Cuts a latent into patches and projects each to a token."""

    def __init__(
        self, in_channels: int, hidden_size: int, patch_size: int, operations: Any, **placement: Any
    ) -> None:
        super().__init__()
        self.proj = operations.Conv2d(
            in_channels, hidden_size, kernel_size=patch_size, stride=patch_size, **placement
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H/p * W/p, hidden), row-major."""
        # Or every block would inherit the order in memory, and each of its norms copy.
        return self.proj(x).flatten(2).transpose(1, 2).contiguous()


class ScalarEmbedder(nn.Module):
    """Embeds a scalar condition: a sinusoid in fp32, then a small MLP."""

    def __init__(self, channels: int, operations: Any, **placement: Any) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            operations.Linear(FREQUENCY_SIZE, channels, **placement),
            nn.SiLU(),
            operations.Linear(channels, channels, **placement),
        )

    def forward(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        """(N,) fp32 -> (N, channels)."""
        return self.mlp(scalar_embedding(values, FREQUENCY_SIZE).to(dtype))


class CaptionProjection(nn.Module):
    """Projects T5 embeddings to the width of the image tokens."""

    def __init__(
        self, caption_channels: int, hidden_size: int, operations: Any, **placement: Any
    ) -> None:
        super().__init__()
        self.fc1 = operations.Linear(caption_channels, hidden_size, **placement)
        self.act = nn.GELU(approximate="tanh")
        self.fc2 = operations.Linear(hidden_size, hidden_size, **placement)

    def forward(self, caption: Tensor) -> Tensor:
        """(B, L, caption_channels) -> (B, L, hidden)."""
        return self.fc2(self.act(self.fc1(caption)))


class CaptionEmbedder(nn.Module):
    """The caption projection, and the learned null caption where the file has one."""

    def __init__(
        self,
        caption_channels: int,
        hidden_size: int,
        null_caption_tokens: int,
        operations: Any,
        **placement: Any,
    ) -> None:
        super().__init__()
        self.y_proj = CaptionProjection(caption_channels, hidden_size, operations, **placement)
        if null_caption_tokens:
            null = torch.zeros(null_caption_tokens, caption_channels, **placement)
            self.register_buffer("y_embedding", null)

    def forward(self, caption: Tensor) -> Tensor:
        """(B, L, caption_channels) -> (B, L, hidden)."""
        return self.y_proj(caption)
