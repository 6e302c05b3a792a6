"""PixArt-delta's ControlNet: copies of the first blocks, fed with a second picture.

Written from the maths of PixArt-alpha's ``ControlPixArtHalf`` (Apache-2.0), with its names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .attention import Attention, torch_attention
from .blocks import Block
from .config import NetworkConfig
from .transformer import PixArtTransformer, State


class ControlBlock(nn.Module):
    """A copied block with the layers that tie it to the model."""

    def __init__(
        self,
        config: NetworkConfig,
        layer: int,
        operations: Any,
        attention: Attention,
        **placement: Any,
    ) -> None:
        super().__init__()
        width = config.hidden_size
        self.copied_block = Block(config, layer, operations, attention, **placement)
        if layer == 0:
            self.before_proj = operations.Linear(width, width, **placement)
        self.after_proj = operations.Linear(width, width, **placement)

    def forward(self, control: Tensor, tokens: Tensor, state: State) -> Tensor:
        """Return the control tokens after this block, (B, N, C) as all.

        ``tokens`` are the model's after its first block; the first copy alone is shown them.
        """
        if hasattr(self, "before_proj"):
            control = tokens + self.before_proj(control)
        out: Tensor = self.copied_block(control, *state.beside)
        return out


class PixArtControl(nn.Module):
    """The control branch; ``config.depth`` is how many blocks are copied, 13 as released."""

    def __init__(
        self,
        config: NetworkConfig,
        operations: Any = nn,
        attention: Attention = torch_attention,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        placement: dict[str, Any] = {"dtype": dtype, "device": device}
        self.config = config
        self.controlnet = nn.ModuleList(
            ControlBlock(config, layer, operations, attention, **placement)
            for layer in range(config.depth)
        )

    def forward(
        self,
        base: PixArtTransformer,
        x: Tensor,
        hint: Tensor,
        t: Tensor,
        context: Tensor,
        mask: Tensor | None = None,
        size: Tensor | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> list[Tensor]:
        """Return what is added before the second block of ``base``, the third, and so on.

        (B, N, C) each. ``hint``: the control picture's latent, of the shape of ``x``; the other
        arguments are those of ``base``.
        """
        state = base.prepare(x, t, context, mask, size, options)
        tokens = base.blocks[0](state.tokens, *state.beside)
        control, _ = base.patches(hint)
        skips = []
        for block in self.controlnet:
            control = block(control, tokens, state)
            assert isinstance(block, ControlBlock)
            skips.append(block.after_proj(control))
        return skips
