"""The untrained transformer: what it can do before it has learned anything.

Each of these would else take thousands of steps, or all that there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pixart_core.network import PixArtTransformer
from pixart_core.network.attention import SelfAttention
from pixart_core.network.blocks import Block
from pixart_core.network.positions import position_grid

from .recipe import NETWORK, TRAINED_SIDE

DEVIATION = 2.0
"""Of the channels of a token, before the first block and, as it is taught, after each. A token's
norm divides by it: while it is the same for all, noise passes through the network undistorted."""
_CARRIED = 0.5
"""How strongly the noise stands beside that."""
_USUAL_DEVIATION = 0.7
"""Of a token whose channels are positions alone, for which the usual weights are made."""
_HEARD = 0.3
"""Factor on the weights with which blocks listen to the noise at first."""
_FINE = 0.1
"""Radians per unit of position from which on a sinusoid tells neighbours apart."""
_SHARPNESS = 8.0
"""Factor on the weights of such sinusoids in the first MLPs, which else see edges as slopes."""
_SHARPENED = 4
"""How many blocks have such an MLP."""
_COARSE = (0.4, 1.5)
"""Radians over the whole picture of the sinusoids that rise from its first token to its last."""
_STEEPNESS = 6.0
"""By how much a unit of position adds to the score of a head that looks for the last token."""
_NARROW = 0.02
_HALF = NETWORK.hidden_size // 2
_PATCH = NETWORK.in_channels * NETWORK.patch_size**2


@dataclass(frozen=True)
class _Channels:
    """Channels that tell next to no position, and are put to other uses."""

    noise: Tensor
    """Each carries one number of a token's patch."""
    ballast: Tensor
    """Each is always the same; together they make up most of a token's deviation."""


def new_transformer(seed: int) -> PixArtTransformer:
    """Return it with random weights, but for what it is given to start with.

    It answers with its input, which at high noise is nearly right. Two heads look at the last
    column and the last row: positions are shares of the picture, so nothing else tells a token how
    wide and how high it is, and so what is a circle. Words reach the tokens from the first step on.
    """
    torch.manual_seed(seed)
    transformer = PixArtTransformer(NETWORK)
    for module in transformer.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.flatten(1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for part in (transformer.t_embedder, transformer.t_block):
        for module in part.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=_NARROW)
    side = TRAINED_SIDE // 8 // NETWORK.patch_size
    grid = position_grid(
        side, side, NETWORK.hidden_size, NETWORK.position_range, torch.device("cpu")
    )
    flattest = grid.std(0).argsort()
    channels = _Channels(flattest[:_PATCH], flattest[_PATCH : 2 * _PATCH])
    with torch.no_grad():
        _pass_through(transformer, grid, channels)
        for index, block in enumerate(transformer.blocks):
            assert isinstance(block, Block)
            _begin(block, channels, is_sharp=index < _SHARPENED)
        first = transformer.blocks[0]
        assert isinstance(first, Block)
        nn.init.xavier_uniform_(first.cross_attn.proj.weight)
        first.cross_attn.proj.weight[channels.noise] = 0
        for head, offset in enumerate((0, _HALF)):
            _look_at_the_last(first.attn, head, grid, offset, channels)
    return transformer


def _pass_through(transformer: PixArtTransformer, grid: Tensor, channels: _Channels) -> None:
    """Carry each number of a patch through a channel of its own, beside the ballast."""
    embedder, last = transformer.x_embedder.proj, transformer.final_layer
    embedder.weight.zero_()
    embedder.weight.flatten(1)[channels.noise, torch.arange(_PATCH)] = _CARRIED
    embedder.bias[channels.noise] = -grid[:, channels.noise].mean(0)
    places = grid + embedder.bias
    places[:, channels.ballast] = 0
    wanted = DEVIATION**2 * NETWORK.hidden_size
    had = places.square().sum(-1).mean() + _PATCH * _CARRIED**2
    weight = ((wanted - had) / _PATCH).sqrt()
    signs = torch.tensor([1.0, -1.0]).repeat(_PATCH // 2)
    embedder.bias[channels.ballast] = signs * weight - grid[:, channels.ballast].mean(0)
    # The last norm takes the mean off each token and makes its deviation 1.
    middle = (grid + embedder.bias).mean()
    deviation = (DEVIATION**2 - middle**2).sqrt()
    rows = last.linear.weight.zero_().view(-1, NETWORK.out_channels, NETWORK.hidden_size)
    for place in range(rows.shape[0]):
        for channel in range(NETWORK.in_channels):
            carrier = channels.noise[channel * rows.shape[0] + place]
            rows[place, channel, carrier] = deviation / _CARRIED
    bias = last.linear.bias.zero_().view(-1, NETWORK.out_channels)
    bias[:, : NETWORK.in_channels] = middle / _CARRIED
    last.scale_shift_table.zero_()
    transformer.t_embedder.mlp.get_submodule("2").get_parameter("weight").zero_()


def _begin(block: Block, channels: _Channels, *, is_sharp: bool) -> None:
    """Silence a block's branches, open their gates, and make up for the ballast in their input."""
    for last in (block.attn.proj, block.cross_attn.proj, block.mlp.fc2):
        nn.init.zeros_(last.weight)
    nn.init.normal_(block.scale_shift_table, std=_NARROW)
    _, scale_msa, gate_msa, _, scale_mlp, gate_mlp = block.scale_shift_table
    for gate in (gate_msa, gate_mlp):
        gate += 1
    for scale in (scale_msa, scale_mlp):
        scale.fill_(DEVIATION / _USUAL_DEVIATION - 1)
        scale[channels.ballast] = -1
    for first in (block.attn.qkv, block.mlp.fc1, block.cross_attn.q_linear):
        first.weight[:, channels.noise] *= _HEARD
    block.cross_attn.q_linear.weight[:, channels.ballast] = 0
    if is_sharp:
        fine = (_rates() > _FINE).repeat(4)
        fine[channels.ballast] = False
        block.mlp.fc1.weight[:, fine] *= _SHARPNESS


def _look_at_the_last(
    attention: SelfAttention, head: int, grid: Tensor, offset: int, channels: _Channels
) -> None:
    """Let a head find the last token along an axis, by sinusoids that rise over the picture.

    ``offset`` is the axis' first channel.
    """
    width = NETWORK.hidden_size // NETWORK.heads
    span = _rates() * NETWORK.position_range
    rising = ((span > _COARSE[0]) & (span < _COARSE[1])).nonzero().squeeze(1) + offset
    normed = (grid - grid.mean(-1, keepdim=True)) / grid.std(-1, keepdim=True)
    rise = normed[:, rising].sum(-1)
    reach = NETWORK.position_range * (1 - 1 / math.isqrt(len(grid)))
    slope = (rise.amax() - rise.amin()) / reach
    own = slice(head * width, (head + 1) * width)
    queries, keys, values = attention.qkv.weight.chunk(3)
    queries[own] = 0
    attention.qkv.bias[own] = 1
    keys[own] = 0
    # Scores are divided by the root of the head's width, over which they are summed.
    keys[own, rising] = _STEEPNESS / math.sqrt(width) / slope
    values[own][:, channels.noise] = 0
    nn.init.xavier_uniform_(attention.proj.weight[:, own])
    attention.proj.weight[channels.noise, own] = 0


def _rates() -> Tensor:
    """Return the rates of an axis' sinusoids, as in ``position_grid``."""
    count = _HALF // 2
    return 10000.0 ** (-torch.arange(count) / count)
