"""Every number of the demo model and of its training, in one place."""

from __future__ import annotations

from dataclasses import dataclass

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
class PictureSet:
    """Pictures of one size, in pixels."""

    width: int
    height: int
    count: int


SMALL = PictureSet(128, 128, 5000)
"""Where most is learned, because a step costs least."""

BUCKETS = tuple(
    PictureSet(width, height, 400 if width == height else 160) for width, height in BUCKETS_256
)


DRAWN = (
    PictureSet(128, 128, 240),
    *(PictureSet(width, height, 4) for width, height in BUCKETS_256),
)
"""What the denoiser draws itself, to learn from."""


@dataclass(frozen=True)
class Stage:
    """A part of the denoiser's training."""

    steps: int
    bucket_share: float
    """Share of the steps that are taken at a size of the 256 table, the others at 128 px."""
    weight_limit: float
    """Most that an error of the noise counts for; the more, the more the noisy steps count."""
    timestep_power: float
    """Power of the uniform draw that is the timestep; below 1 the noisier half comes more often."""
    middle_share: float = 0.0
    """Share of the timesteps drawn about ``middle``, the others evenly."""
    middle: float = 0.5
    """Where those lie most densely, as a share of all; none lies beyond the double of it."""


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train."""

    seed: int = 0
    vae_steps: int = 1200
    vae_batch: int = 12
    vae_encoded: int = 4
    """How many crops of a batch the encoder learns from too; it has the easier part."""
    vae_crop: int = 64
    vae_rate: float = 7e-4
    latent_noise: float = 0.2
    """Most noise added to a latent before it is decoded in training: forgives small errors."""
    stages: tuple[Stage, ...] = (
        # What the words mean, which is decided at high noise.
        Stage(3000, bucket_share=0.1, weight_limit=500, timestep_power=0.75),
        # Which shape, and its outline, which are decided at middling noise.
        Stage(8000, bucket_share=0.3, weight_limit=150, timestep_power=1.0, middle_share=0.6),
        # Every size; some small ones remain, lest they be forgotten.
        Stage(
            10000,
            bucket_share=0.6,
            weight_limit=60,
            timestep_power=1.0,
            middle_share=0.6,
            middle=0.45,
        ),
    )
    mending_steps: int = 3600
    """Every other one is on what the denoiser drew itself (`mending.py`)."""
    mending_round: int = 900
    """After so many it draws anew."""
    mending_rate: float = 4e-4
    mending_small_batch: int = 8
    """Of pictures at 128 px, each shown with and without its caption."""
    mending_below: int = 600
    """The timestep from which on it learns to mend."""
    mending_weight: float = 3.0
    """What an error of the mended latent counts for."""
    mending_guided: float = 0.7
    """What the error of the guided prediction counts for, beside those of its two parts."""
    mending_ema: float = 0.995
    steps_between_sheets: int = 3000
    steps_between_saves: int = 500
    rate: float = 8e-4
    warm_up: int = 200
    """Steps in which the rate rises from zero, to fall back to it along a straight line."""
    small_batch: int = 12
    bucket_batch: int = 5
    """Of whole pictures: which size it is, the network reads from where the tokens end."""
    ema: float = 0.999
    empty_captions: float = 0.125
    """Share of each batch that repeats a picture, noise and all, without its caption."""
    contested_weight: float = 12.0
    """What a latent counts for in the loss where it tells one shape from another; others: 1.
    There are few such, and circles came out square while they counted no more."""
    agreement: float = 4.0
    """How much such a pair should agree where the picture shows through the noise: guidance
    multiplies what separates them, and there that is nothing but error."""
    agreement_below: int = 400
    """The timestep from which on the picture shows."""
    partial_captions: float = 0.12
    """Share of captions that leave something open, a colour say."""
    strange_words: float = 0.1
    """Share of captions with words the model has no use for, so that such words do no harm."""
