"""The fixed sinusoids of PixArt: of places in the image and of scalar conditions."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

_LONGEST_PERIOD = 10000.0


def position_grid(
    rows: int, columns: int, hidden_size: int, position_range: int, device: torch.device
) -> Tensor:
    """Return the position embedding of a token grid, (rows * columns, hidden_size) fp32.

    A coordinate is ``index * position_range / n`` on each axis, so that every shape and size
    spans the range that was trained. The first half of the channels encodes the column, the
    second the row; in each half sines come before cosines. Row-major token order.
    Source: PixArt-alpha, diffusion/model/nets/PixArt.py, get_2d_sincos_pos_embed.
    """
    by_column = _axis(columns, hidden_size // 2, position_range).to(device)
    by_row = _axis(rows, hidden_size // 2, position_range).to(device)
    grid = torch.cat(
        [by_column.expand(rows, -1, -1), by_row.unsqueeze(1).expand(-1, columns, -1)], dim=-1
    )
    return grid.reshape(rows * columns, hidden_size)


# The axes and not the grid: that of a large picture would be memory the host knows nothing of.
@lru_cache(maxsize=32)
def _axis(length: int, channels: int, position_range: int) -> Tensor:
    # The cache outlives the host's inference mode, whose tensors training could not use.
    with torch.inference_mode(False):
        # fp64: at fp32 the angle of the last token of a 2K picture is already off by 1e-6.
        coordinates = torch.arange(length, dtype=torch.float64) * (position_range / length)
        steps = torch.arange(channels // 2, dtype=torch.float64)
        angles = torch.outer(coordinates, _LONGEST_PERIOD ** (-steps / (channels // 2)))
        return torch.cat([angles.sin(), angles.cos()], dim=-1).float()


def scalar_embedding(values: Tensor, channels: int) -> Tensor:
    """Return the sinusoid of each value, (N,) -> (N, channels) fp32, cosines first.

    ``values`` are raw: a timestep in 0..999, a length in pixels, or height / width.
    Source: PixArt-alpha, diffusion/model/nets/PixArt_blocks.py, TimestepEmbedder.
    """
    half = channels // 2
    rates = torch.exp(
        -math.log(_LONGEST_PERIOD)
        * torch.arange(half, dtype=torch.float32, device=values.device)
        / half
    )
    angles = values.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
