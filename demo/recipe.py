"""Every number of the demo model and of its training, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import T5Config

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

TRAINED_SIDE = 256
"""Side in pixels of the pictures that the model is for."""


@dataclass(frozen=True)
class Stage:
    """A part of the denoiser's training, with a rate that falls to zero at its end."""

    side: int
    """Side of the pictures in pixels."""
    scenes: int
    """How many different pictures there are."""
    steps: int
    batch: int
    rate: float
    weight_limit: float
    """Most that an error of the noise counts for; the more, the more the noisy steps count."""
    timestep_power: float
    """Power of the uniform draw that is the timestep; below 1 the noisier half comes more often."""


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train."""

    seed: int = 0
    vae_steps: int = 1000
    vae_batch: int = 16
    vae_crop: int = 64
    vae_rate: float = 7e-4
    latent_noise: float = 0.25
    """Most noise added to a latent before it is decoded in training: forgives small errors."""
    stages: tuple[Stage, ...] = (
        # What the words mean, decided at high noise; cheap, because the pictures are small.
        Stage(128, 5000, 5700, 32, 1.5e-3, weight_limit=2000, timestep_power=0.7),
        # The same at full size.
        Stage(TRAINED_SIDE, 1000, 1200, 12, 5e-4, weight_limit=2000, timestep_power=0.7),
        # Clean outlines, which are decided at low noise.
        Stage(TRAINED_SIDE, 1000, 1000, 12, 5e-4, weight_limit=30, timestep_power=1.2),
        Stage(TRAINED_SIDE, 1000, 1300, 12, 7e-4, weight_limit=100, timestep_power=1.0),
    )
    warm_up: int = 100
    """Steps in which a stage's rate rises from zero."""
    ema: float = 0.999
    empty_captions: float = 0.1
    strange_words: float = 0.15
    """Share of captions with words the model has no use for, so that such words do no harm."""
