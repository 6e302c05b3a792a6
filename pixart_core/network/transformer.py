"""The PixArt transformer: alpha and Sigma, at every size, in one module.

Written from the maths of PixArt-alpha and PixArt-Sigma (Apache-2.0), with the names of their
checkpoints. It differs from them in that the position grid follows the picture's size, the
caption mask is an additive bias, and positions, timesteps and sizes stay fp32 at any dtype.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConditioningError
from .attention import Attention, caption_mask, torch_attention
from .blocks import Block, BlockMemory, FinalLayer
from .config import NetworkConfig
from .embedders import CaptionEmbedder, PatchEmbedder, ScalarEmbedder
from .positions import position_grid
from .run_memory import NetworkMemory, RunMemory, block_memories


@dataclass(frozen=True)
class State:
    """What a block is given."""

    tokens: Tensor
    """(B, N, C)."""
    time: Tensor
    """(B, C), for the final layer."""
    modulation: Tensor
    """(B, 6, C)."""
    caption: Tensor
    """(B, L, C)."""
    mask: Tensor | None
    """Additive, (B, 1, N, L)."""
    grid: tuple[int, int]
    """Rows and columns of tokens."""
    options: Mapping[str, Any]
    kept: Sequence[BlockMemory] = ()
    """What each block need not compute, where something is kept."""
    final: tuple[Tensor, Tensor] | None = None
    """Shift and scale of the final layer, (C,) each, where all rows share them."""

    @property
    def beside(self) -> tuple[Any, ...]:
        """A block's arguments after the tokens."""
        return self.caption, self.modulation, self.mask, self.grid, self.options


class PixArtTransformer(nn.Module):
    """Predicts the noise (and, where learned, its variance) in a latent.

    ``operations`` supplies ``Linear``, ``LayerNorm`` and ``Conv2d``; ``attention`` the kernel, and
    ``cross_attention`` another one for the caption, if it is given.
    """

    def __init__(
        self,
        config: NetworkConfig,
        operations: Any = nn,
        attention: Attention = torch_attention,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        cross_attention: Attention | None = None,
    ) -> None:
        super().__init__()
        placement: dict[str, Any] = {"dtype": dtype, "device": device}
        width = config.hidden_size
        self.config = config
        self.x_embedder = PatchEmbedder(
            config.in_channels, width, config.patch_size, operations, **placement
        )
        self.t_embedder = ScalarEmbedder(width, operations, **placement)
        self.t_block = nn.Sequential(nn.SiLU(), operations.Linear(width, 6 * width, **placement))
        self.y_embedder = CaptionEmbedder(
            config.caption_channels, width, config.null_caption_tokens, operations, **placement
        )
        if config.size_conditions:
            self.csize_embedder = ScalarEmbedder(width // 3, operations, **placement)
            self.ar_embedder = ScalarEmbedder(width // 3, operations, **placement)
        self.blocks = nn.ModuleList(
            Block(config, layer, operations, attention, cross_attention, **placement)
            for layer in range(config.depth)
        )
        self.final_layer = FinalLayer(config, operations, **placement)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor,
        mask: Tensor | None = None,
        size: Tensor | None = None,
        options: Mapping[str, Any] | None = None,
        skips: Sequence[Tensor | None] = (),
        memory: RunMemory | None = None,
    ) -> Tensor:
        """Return (B, out_channels, H, W) for a latent (B, in_channels, H, W).

        ``t``: (B,) timesteps in 0..999, possibly fractional. ``context``: (B, L, channels) T5
        embeddings; ``mask``: (B, L), positive at real tokens, None where all are real.
        ``size``: (B, 2) height and width in pixels, needed with size conditions, else ignored.
        ``options`` reaches the attention function unchanged. ``skips``: (B, N, C) each, what a
        ControlNet adds before the second block, the third, and so on. H and W must be multiples
        of the patch size. The compute dtype is that of ``x``. ``memory`` is that of the run, if
        there is one. Raises ConditioningError for a size that is needed and missing.
        """
        state = self.prepare(x, t, context, mask, size, options, memory)
        tokens = state.tokens
        for index in range(len(self.blocks)):
            skip = skips[index - 1] if 0 < index <= len(skips) else None
            tokens = self.run_block(
                index, tokens if skip is None else tokens + skip.to(tokens), state
            )
        return self._unpatchify(self.final_layer(tokens, state.time, state.final), *state.grid)

    def run_block(self, index: int, tokens: Tensor, state: State) -> Tensor:
        """Run one block on tokens (B, N, C); what runs the model may put something in its place."""
        kept = (state.kept[index],) if state.kept else ()
        out: Tensor = self.blocks[index](tokens, *state.beside, *kept)
        return out

    def prepare(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor,
        mask: Tensor | None = None,
        size: Tensor | None = None,
        options: Mapping[str, Any] | None = None,
        memory: RunMemory | None = None,
    ) -> State:
        """Return what the first block is given, for the arguments of ``forward``."""
        options = options or {}
        own = None if memory is None else memory.of(self)
        tokens, grid = self.patches(x, own)
        shared = None if own is None else own.shared_time(t, size, x.dtype)
        if shared is None:
            time = self.condition(t, size, x.dtype)
            modulation = self.t_block(time).unflatten(-1, (6, -1))  # B 6 C
        else:
            time, modulation = (
                one.expand(len(x), *one.shape[1:]) for one in (shared.time, shared.modulation)
            )
        known = None if own is None else own.caption(context, mask, x.dtype)
        caption = self.y_embedder(context.to(x.dtype)) if known is None else known.tokens
        bias = None if mask is None else caption_mask(mask, tokens.shape[1], x.dtype)
        kept = block_memories(
            *(self, shared, known, bias, None if own is None else own.mlp_weights(x.device)),
            together=self.attends_together(options),
        )
        final = None if shared is None else shared.final
        return State(tokens, time, modulation, caption, bias, grid, options, kept, final)

    def attends_together(self, options: Mapping[str, Any]) -> bool:
        """Whether all rows of a batch must attend to their captions in one call."""
        return False

    def patches(
        self, x: Tensor, memory: NetworkMemory | None = None
    ) -> tuple[Tensor, tuple[int, int]]:
        """Return a latent as tokens with their positions, (B, N, C), and their rows and columns."""
        rows, columns = (side // self.config.patch_size for side in x.shape[-2:])
        if memory is None:
            config = self.config
            grid = position_grid(rows, columns, config.hidden_size, config.position_range, x.device)
        else:
            grid = memory.positions(rows, columns, x.device)
        return (self.x_embedder(x) + grid).to(x.dtype), (rows, columns)

    def condition(self, t: Tensor, size: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Return timesteps (B,) and sizes (B, 2) embedded, (B, C)."""
        time = self.t_embedder(t, dtype)
        if not self.config.size_conditions:
            return time
        if size is None:
            raise ConditioningError(
                "This model cannot draw without knowing the picture's size",
                found="no size",
                expected="height and width in pixels",
                advice="Pass size, (B, 2).",
            )
        sides = size.float()  # B 2
        area = self.csize_embedder(sides.flatten(), dtype).unflatten(0, (-1, 2)).flatten(1)
        aspect = self.ar_embedder(sides[:, 0] / sides[:, 1], dtype)
        return time + torch.cat([area, aspect], dim=-1)

    def _unpatchify(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        p = self.config.patch_size
        patches = tokens.unflatten(-1, (p, p, -1)).unflatten(1, (rows, columns))  # B h w p q C
        return patches.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)  # B C H W
