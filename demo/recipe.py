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
class Recipe:
    """How long and how fast to train."""

    seed: int = 0
    vae_steps: int = 1000
    vae_batch: int = 16
    vae_crop: int = 64
    vae_rate: float = 7e-4
    latent_noise: float = 0.25
    """Most noise added to a latent before it is decoded in training: forgives small errors."""
    small_scenes: int = 5000
    small_side: int = 128
    large_scenes: int = 1000
    small_steps: int = 5000
    small_batch: int = 32
    large_steps: int = 900
    large_batch: int = 12
    rate: float = 1e-3
    warm_up: int = 200
    ema: float = 0.999
    empty_captions: float = 0.1
    strange_words: float = 0.15
    """Share of captions with words the model has no use for, so that such words do no harm."""
    loss_weight_limit: float = 2000.0
    """Most that an error of the noise counts for: at 100 the words were hardly learned."""
    late_timesteps: float = 0.7
    """Power of the uniform draw that is the timestep; below 1 the noisier half comes more often."""
