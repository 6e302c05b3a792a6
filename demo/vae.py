"""The demo's autoencoder: diffusers' tiny one, trained on crops of the scenes."""

from __future__ import annotations

import random

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from .recipe import VAE_SCALE, Recipe
from .scenes import COLOURS, SEEN, Scene, draw, outline_of, random_scene

_SIDES = (96, 128, 128, 144, 192, 256)
"""Shorter sides of the pictures that crops are taken from; 128 twice, where most is learned."""
_STARS = [combination for combination in SEEN if combination[0] == "star"]
_STAR_SHARE = 0.35
"""Share of the crops that are stars for sure: their arms are what small pictures lose first."""
_PATCH = 8
"""Pixels to a latent pixel."""


def train_vae(recipe: Recipe, device: torch.device) -> AutoencoderTiny:
    """Train encoder and decoder so that latents have about zero mean and unit variance."""
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    vae = AutoencoderTiny().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), recipe.vae_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.vae_rate, total_steps=recipe.vae_steps, pct_start=0.1
    )
    bar = tqdm(range(recipe.vae_steps), desc="vae")
    for _ in bar:
        pixels = _crops(rng, recipe).to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            latents = vae.encoder(pixels)
            strength = torch.rand(len(latents), 1, 1, 1, device=device) * recipe.latent_noise
            restored = vae.decoder(latents + strength * torch.randn_like(latents))
        error = restored.float() - pixels
        shown = _colour_error(latents.float(), pixels) + _spread_penalty(latents.float())
        loss = error.square().mean() + 0.3 * error.abs().mean() + shown
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.4f}", mse=f"{error.square().mean().item():.5f}")
    return vae.to("cpu", memory_format=torch.contiguous_format).eval()


def _colour_error(latents: Tensor, pixels: Tensor) -> Tensor:
    """Return how far the first three channels are from the mean colours of their patches.

    Left to itself the encoder puts all colours on one line, and the denoiser that has to choose
    between two of them ends at a third in between.
    """
    palette = torch.tensor(list(COLOURS.values()), device=pixels.device) / 127.5 - 1
    centre, spread = palette.mean(0)[:, None, None], palette.std(0)[:, None, None]
    means = functional.avg_pool2d(pixels, _PATCH)
    return (latents[:, :3] - (means - centre) / spread).square().mean()


def _spread_penalty(latents: Tensor) -> Tensor:
    """Return how far the fourth channel is from zero mean and unit variance."""
    own = latents[:, 3]
    return 0.05 * (own.mean().square() + (own.std() - 1).square())


def _crops(rng: random.Random, recipe: Recipe) -> Tensor:
    return torch.stack([_crop(rng, recipe) for _ in range(recipe.vae_batch)])


def _crop(rng: random.Random, recipe: Recipe) -> Tensor:
    star = rng.choice(_STARS) if rng.random() < _STAR_SHARE else None
    scene, side, crop = random_scene(rng, star), rng.choice(_SIDES), recipe.vae_crop
    x, y = (
        min(max(round(corner + rng.uniform(-0.6, 0.6) * crop - crop / 2), 0), side - crop)
        for corner in rng.choice(outline_of(scene, side, side))
    )
    return _to_tensor(scene, side, side)[:, y : y + crop, x : x + crop]


def _to_tensor(scene: Scene, width: int, height: int) -> Tensor:
    pixels = np.asarray(draw(scene, width, height), dtype=np.float32)
    return torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)  # C H W in -1..1


@torch.no_grad()
def encode_scenes(vae: AutoencoderTiny, scenes: list[Scene], width: int, height: int) -> Tensor:
    """Render and encode scenes: (N, 4, height / 8, width / 8), fp16."""
    encoder = vae.encoder.to(memory_format=torch.channels_last)
    batches = []
    for start in range(0, len(scenes), 8):
        drawn = [_to_tensor(scene, width, height) for scene in scenes[start : start + 8]]
        pixels = torch.stack(drawn).to(vae.device, memory_format=torch.channels_last)
        with torch.autocast(vae.device.type, torch.bfloat16):
            batches.append(encoder(pixels).half().cpu())
    return torch.cat(batches).contiguous()


def host_layout(vae: AutoencoderTiny) -> dict[str, Tensor]:
    """Rename the weights to what the host's VAELoader takes for a TAESD."""
    tensors = {"vae_scale": torch.tensor(VAE_SCALE), "vae_shift": torch.tensor(0.0)}
    for key, value in vae.state_dict().items():
        half, _, index, rest = key.split(".", 3)
        # The host's decoder counts its clamp as layer 0; diffusers applies it in forward.
        place = int(index) + (half == "decoder")
        tensors[f"taesd_{half}.{place}.{rest}"] = value
    return tensors


def restored_pictures(vae: AutoencoderTiny, latents: Tensor) -> Tensor:
    """Decode latents to pictures, (N, H, W, 3) in 0..1."""
    with torch.no_grad():
        pixels = vae.decoder(latents.float())
    return functional.hardtanh(pixels, -1, 1).add(1).div(2).permute(0, 2, 3, 1)
