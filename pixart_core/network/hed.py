"""The edge detector whose maps PixArt-delta's ControlNets were trained on.

Holistically-nested edge detection; written from the maths of the ``ControlNetHED`` annotator
(Apache-2.0), with its names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_BLOCKS = ((3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3))
"""Channels in, channels out, and number of convolutions of each block."""


class HedBlock(nn.Module):
    """Convolutions at one scale, and their view of the edges."""

    def __init__(self, channels_in: int, channels: int, count: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(channels if i else channels_in, channels, 3, padding=1) for i in range(count)
        )
        self.projection = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, in, H, W) -> (B, channels, H, W) and (B, 1, H, W)."""
        for conv in self.convs:
            x = functional.relu(conv(x))
        return x, self.projection(x)


class Hed(nn.Module):
    """Five blocks, each at half the size of the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.zeros(1, 3, 1, 1))
        for number, shape in enumerate(_BLOCKS, start=1):
            self.add_module(f"block{number}", HedBlock(*shape))

    def forward(self, picture: Tensor) -> Tensor:
        """RGB (B, 3, H, W) in 0..1, 16 pixels or more a side -> edges (B, 1, H, W) in 0..1."""
        x = picture * 255 - self.norm
        edges = []
        for number in range(1, len(_BLOCKS) + 1):
            x = functional.max_pool2d(x, 2) if number > 1 else x
            x, edge = self.get_submodule(f"block{number}")(x)
            edges.append(
                functional.interpolate(edge, picture.shape[-2:], mode="bilinear", antialias=True)
            )
        return torch.sigmoid(torch.stack(edges).mean(0))
