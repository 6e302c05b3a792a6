"""What the demo's autoencoder learns from."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from demo.recipe import Recipe
from demo.scenes import Scene, draw
from demo.vae import crops, flawed_latents, patch_means, train_vae

RECIPE = Recipe(vae_steps=3, vae_batch=3, vae_encoded=1)


def pixels_of(*scenes: Scene) -> Tensor:
    drawn = [np.asarray(draw(scene, 128, 96), dtype=np.float32) for scene in scenes]
    return torch.from_numpy(np.stack(drawn) / 127.5 - 1).permute(0, 3, 1, 2)


def test_a_latent_is_the_mean_of_its_patch() -> None:
    black, white = (patch_means(torch.full((1, 3, 8, 8), value)) for value in (-1.0, 1.0))
    half = torch.full((1, 3, 8, 8), -1.0)
    half[..., :4] = 1.0
    assert torch.allclose(patch_means(half), (black + white) / 2, atol=1e-6)
    assert (white[0, :3] - black[0, :3]).min() > 1.5


def test_flaws_are_near_the_outline_and_end_there() -> None:
    pixels = pixels_of(*[Scene("square", "black", "white")] * 8)
    right = patch_means(pixels)
    none = replace(RECIPE, latent_noise=0.0, latent_bend=0.0)
    assert torch.allclose(flawed_latents(pixels, none), right, atol=1e-5)
    torch.manual_seed(0)
    bent = (flawed_latents(pixels, replace(none, latent_bend=2.0)) - right).abs().amax((0, 1))
    assert bent.max() > 0.1
    # Flat ground and the middle of the square stay as they are.
    assert bent[6, 8] < 1e-4
    assert bent[:2].max() < 1e-4
    noisy = flawed_latents(pixels, replace(none, latent_noise=0.5)) - right
    spread = noisy.std((1, 2, 3))
    assert spread.max() < 0.6
    assert spread.max() > 2 * spread.min()


@pytest.mark.parametrize("axis", [2, 3])
def test_a_bend_is_of_so_many_pixels(axis: int) -> None:
    """On a ramp, where a shift of a pixel is a change of its slope."""
    width, height = 512, 256
    ramp = torch.linspace(-1, 1, height if axis == 2 else width)
    ramp = ramp.view(-1, 1) if axis == 2 else ramp
    pixels = ramp.expand(8, 3, height, width).contiguous()
    torch.manual_seed(0)
    recipe = replace(RECIPE, latent_noise=0.0, latent_bend=4.0)
    flawed, right = (
        latents[:, 0, 2:-2, 2:-2]
        for latents in (flawed_latents(pixels, recipe), patch_means(pixels))
    )
    slope = (right[0, -1, -1] - right[0, 0, 0]) / (right.shape[axis - 1] - 1) / 8
    # Evenly drawn from 0 to 4, root mean square 2.3; averaged over a patch it is less.
    assert 1.2 < ((flawed - right) / slope).square().mean().sqrt().item() < 2.4


def test_faint_colours_count_as_much_as_others() -> None:
    pixels, contrasts = crops(random.Random(0), replace(RECIPE, vae_batch=300))
    assert pixels.shape == (300, 3, RECIPE.vae_crop, RECIPE.vae_crop)
    assert contrasts.shape == (300, 1, 1, 1)
    span = pixels.amax((2, 3), keepdim=True) - pixels.amin((2, 3), keepdim=True)
    span = span.square().mean(1, keepdim=True).sqrt()
    # Nearly all have both colours in them.
    assert (span - contrasts).abs().lt(0.01).float().mean() > 0.9
    assert contrasts.min().item() == pytest.approx(0.389, abs=0.01)
    assert contrasts.max().item() == pytest.approx(228 / 127.5, abs=0.01)


def test_encoder_and_decoder_are_trained() -> None:
    torch.manual_seed(0)
    vae = train_vae(RECIPE, torch.device("cpu"))
    other = train_vae(replace(RECIPE, vae_steps=4), torch.device("cpu"))
    for half, changed in ((vae.encoder, other.encoder), (vae.decoder, other.decoder)):
        pairs = list(zip(half.parameters(), changed.parameters(), strict=True))
        assert all(torch.isfinite(a).all() for a, _ in pairs)
        assert any(not torch.equal(a, b) for a, b in pairs)
