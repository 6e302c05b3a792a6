"""Every number of the demo model and of its training, in one place."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers import T5Config

from pixart_core.buckets import BUCKETS_256
from pixart_core.network import NetworkConfig

NETWORK = NetworkConfig(
    depth=6,
    hidden_size=216,
    mlp_size=864,
    in_channels=4,
    out_channels=8,
    patch_size=2,
    caption_channels=128,
    position_range=16,
    size_conditions=False,
    null_caption_tokens=120,
)

TEXT = T5Config(
    vocab_size=32128,
    d_model=128,
    d_kv=32,
    d_ff=256,
    num_layers=2,
    num_heads=4,
    feed_forward_proj="gated-gelu",
    dropout_rate=0.0,
    is_encoder_decoder=False,
)

VAE_SCALE = 0.18215
"""Factor between the host's latents and the denoiser's, the one of Stable Diffusion's VAE."""

GUIDANCE = 4.5
"""The guidance that the model is made for, PixArt's own."""

TRAINED_SIDE = 256
"""Side in pixels for which the file's position grid is written."""


@dataclass(frozen=True)
class PictureSize:
    """In pixels."""

    width: int
    height: int


SMALL = PictureSize(128, 128)
"""Where comparisons are made, because a step costs least."""

OBLONG = tuple(
    PictureSize(width, height)
    for width in range(64, 272, 16)
    for height in range(64, 272, 16)
    if 52 <= width * height // 256 <= 76
    and max(width, height) <= 4 * min(width, height)
    and (width, height) != (128, 128)
)
"""Pictures of about as many tokens, of every aspect of the 256 table."""

BUCKETS = tuple(PictureSize(width, height) for width, height in BUCKETS_256)


@dataclass(frozen=True)
class Lesson:
    """Batches of one kind."""

    sizes: tuple[PictureSize, ...]
    share: float
    """Of the steps."""
    batch: int
    tokens: int = 0
    """How many tokens of each picture are looked at; 0 is all."""
    is_complete: bool = False
    """Whether every caption names everything."""


@dataclass(frozen=True)
class Stage:
    """A part of the denoiser's training."""

    steps: int
    timesteps: tuple[int, int]
    """The first, and the one after the last."""
    weight_limit: float
    """Most that an error of the noise counts for; the more, the more the noisy steps count."""
    hidden: float
    """Share of the rows that show nothing at all, so that only the words tell what is right."""
    misled: float
    """Share of the rows with a complete caption in which another picture shows."""
    overdone: float
    """Share of the other rows in which there shows too much or too little of the right one."""
    partial: float
    """Share of captions that leave something open, a colour say."""
    empty: float
    """Share of captions without words."""
    lessons: tuple[Lesson, ...]
    kept: float = 0.0
    """Share of the rows that show another picture through the last steps' noise, where it is right
    whatever the caption says: too late to draw anew."""


_FEW_TOKENS = (
    Lesson((SMALL,), share=0.30, batch=32, tokens=26),
    Lesson(OBLONG, share=0.35, batch=32, tokens=26),
    Lesson(BUCKETS, share=0.35, batch=32, tokens=26),
)
"""While pictures are drawn from words alone, a token needs no neighbours."""

_WHOLE = (
    Lesson((SMALL,), share=0.4, batch=16),
    Lesson(OBLONG, share=0.2, batch=16),
    Lesson(BUCKETS, share=0.2, batch=16, tokens=64, is_complete=True),
    Lesson(BUCKETS, share=0.2, batch=4),
)


@dataclass(frozen=True)
class DrawnSet:
    """What the denoiser draws itself, to learn from, in each round."""

    sizes: tuple[PictureSize, ...]
    draws: int
    """How many of the sizes, chosen at random."""
    pictures: int
    """At each."""
    rows: int = 0
    """How many states of these pictures a step learns from."""
    share: float = 0.0
    """Of the steps on what was drawn."""
    is_wordless: bool = False
    """Whether nothing is asked for."""


_EVERY_STEP = Stage(
    4500,
    timesteps=(0, 1000),
    weight_limit=30,
    hidden=0.05,
    misled=0.35,
    overdone=0.2,
    partial=0.15,
    empty=0.3,
    lessons=_WHOLE,
)
"""Every step of a sampler, on whole pictures."""
_MENDING = replace(_EVERY_STEP, steps=4000, kept=0.06)


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train."""

    seed: int = 0
    vae_steps: int = 1600
    vae_batch: int = 12
    vae_encoded: int = 4
    """How many crops of a batch the encoder learns from too; it has the easier part."""
    vae_crop: int = 64
    vae_rate: float = 7e-4
    latent_noise: float = 0.2
    """Greatest deviation of the noise on latents to be decoded: forgives small errors."""
    latent_bend: float = 1.5
    """Greatest deviation in pixels by which their pictures are bent: forgives uneven outlines."""
    reading_steps: int = 1500
    reading_batch: int = 96
    reading_rate: float = 2e-3
    stages: tuple[Stage, ...] = (
        # To draw from words.
        Stage(
            2500,
            timesteps=(100, 800),
            weight_limit=13,
            hidden=0.6,
            misled=0.85,
            overdone=0.0,
            partial=0.0,
            empty=0.0,
            lessons=_FEW_TOKENS,
        ),
        # What is left open, and what shows.
        Stage(
            800,
            timesteps=(50, 900),
            weight_limit=13,
            hidden=0.2,
            misled=0.6,
            overdone=0.3,
            partial=0.08,
            empty=0.15,
            lessons=_FEW_TOKENS,
        ),
        _EVERY_STEP,
    )
    mending: Stage = _MENDING
    """Every other step is on what the denoiser drew itself instead (`mending.py`)."""
    mending_round: int = 1000
    """After so many it draws anew."""
    mending_sets: tuple[DrawnSet, ...] = (
        DrawnSet((SMALL,), draws=6, pictures=40, rows=16, share=0.5),
        DrawnSet(OBLONG, draws=10, pictures=4, rows=8, share=0.1),
        DrawnSet(BUCKETS, draws=6, pictures=2, rows=4, share=0.13),
        DrawnSet((SMALL,), draws=3, pictures=48, rows=24, share=0.27, is_wordless=True),
    )
    mending_rate: float = 3e-4
    mending_below: int = 700
    """The timestep from which on it learns to mend."""
    mending_weight: float = 3.0
    """What an error of the mended latent counts for."""
    mending_guided: float = 0.7
    """What the error of the guided prediction counts for, beside those of its two parts."""
    mending_ema: float = 0.998
    finishing_steps: int = 800
    """The decoder's, half of them on what the mended denoiser drew (`finishing.py`)."""
    finishing_sets: tuple[DrawnSet, ...] = (
        DrawnSet((SMALL,), draws=8, pictures=40),
        DrawnSet(BUCKETS, draws=8, pictures=2),
    )
    steps_between_sheets: int = 500
    steps_between_saves: int = 500
    rate: float = 1e-3
    warm_up: int = 200
    """Steps in which the rate rises from zero, to fall back to it along a straight line."""
    ema: float = 0.998
    passing_share: float = 0.3
    """Of the rate, for the layers through which all noise goes."""
    contested_weight: float = 8.0
    """What a latent counts for in the loss where it tells one shape from another; others: 1."""
    sketch_weight: float = 3.0
    """What the outline counts for that is asked for half-way through the network."""
    even_weight: float = 0.3
    """What it counts for that tokens deviate as they should, so that noise passes undistorted."""
    partial_captions: float = 0.12
    """Share of captions that leave something open, a colour say."""
    strange_words: float = 0.1
    """Share of captions with words the model has no use for, so that such words do no harm."""
