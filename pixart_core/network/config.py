"""The facts that fix the shape of a PixArt transformer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HEAD_SIZE = 72
"""Channels of one attention head in every PixArt model; the number of heads follows from it."""

FREQUENCY_SIZE = 256
"""Width of the sinusoid that a timestep, a height, a width or an aspect ratio becomes."""


KVMode = Literal["conv", "ave", "uniform", "uniform_every"]
"""How keys and values become fewer: learned, or one of each square, or one of each run."""


@dataclass(frozen=True)
class KVCompression:
    """Self-attention to fewer keys and values than there are image tokens (Sigma's proposal)."""

    mode: KVMode
    factor: int
    """By how much they become fewer along each axis ("uniform_every": in all)."""
    layers: tuple[int, ...]
    """The blocks that do it: 14 to 27 in Sigma's configurations."""


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of a transformer, all of it readable from a checkpoint but ``position_range``."""

    depth: int
    """Number of blocks: 28 in the released models."""
    hidden_size: int
    """Width of an image token: 1152 in the released models, always a multiple of 72."""
    mlp_size: int
    """Inner width of a block's MLP, four times ``hidden_size`` in the released models."""
    in_channels: int
    """Latent channels in."""
    out_channels: int
    """Latent channels out: twice ``in_channels`` where the variance is learned."""
    patch_size: int
    """Side of a patch in latent pixels."""
    caption_channels: int
    """Width of a T5 embedding: 4096 for T5-XXL."""
    position_range: int
    """Coordinate range R of the position grid: 16 for alpha at 256 px, 32 for all others."""
    size_conditions: bool
    """Whether height, width and aspect ratio are conditions (alpha at 1024 px)."""
    null_caption_tokens: int
    """Rows of the learned null caption, 0 where the file has none."""
    qk_norm: bool = False
    """Whether queries and keys of the self-attention are normed."""
    kv_compression: KVCompression | None = None

    def __post_init__(self) -> None:
        if self.hidden_size % HEAD_SIZE:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of the head size {HEAD_SIZE}"
            )

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        return self.hidden_size // HEAD_SIZE
