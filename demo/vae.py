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
from .scenes import Scene, draw, outline_of, random_scene


def train_vae(recipe: Recipe) -> AutoencoderTiny:
    """Train encoder and decoder so that latents have about zero mean and unit variance."""
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    vae = AutoencoderTiny().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), recipe.vae_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.vae_rate, total_steps=recipe.vae_steps, pct_start=0.1
    )
    bar = tqdm(range(recipe.vae_steps), desc="vae")
    for _ in bar:
        pixels = _crops(rng, recipe).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encoder(pixels)
            strength = torch.rand(len(latents), 1, 1, 1) * recipe.latent_noise
            restored = vae.decoder(latents + strength * torch.randn_like(latents))
        error = restored.float() - pixels
        loss = error.square().mean() + 0.3 * error.abs().mean() + _spread_penalty(latents.float())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.4f}", mse=f"{error.square().mean().item():.5f}")
    return vae.to(memory_format=torch.contiguous_format).eval()


def _spread_penalty(latents: Tensor) -> Tensor:
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    return 0.05 * (mean.square().mean() + (deviation - 1).square().mean())


def _crops(rng: random.Random, recipe: Recipe) -> Tensor:
    return torch.stack([_crop(rng, recipe) for _ in range(recipe.vae_batch)])


def _crop(rng: random.Random, recipe: Recipe) -> Tensor:
    scene, side, crop = random_scene(rng), rng.choice((96, 128, 256)), recipe.vae_crop
    corners = outline_of(scene)
    x, y = (
        min(max(round(share * side + rng.uniform(-0.6, 0.6) * crop - crop / 2), 0), side - crop)
        for share in rng.choice(corners)
    )
    return _to_tensor(scene, side)[:, y : y + crop, x : x + crop]


def _to_tensor(scene: Scene, side: int) -> Tensor:
    pixels = np.asarray(draw(scene, side), dtype=np.float32)
    return torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)  # C H W in -1..1


@torch.no_grad()
def encode_scenes(vae: AutoencoderTiny, scenes: list[Scene], side: int) -> Tensor:
    """Render and encode scenes: (N, 4, side / 8, side / 8), fp16."""
    encoder = vae.encoder.to(memory_format=torch.channels_last)
    batches = []
    for start in tqdm(range(0, len(scenes), 8), desc=f"latents at {side} px"):
        pixels = torch.stack([_to_tensor(scene, side) for scene in scenes[start : start + 8]])
        with torch.autocast("cpu", torch.bfloat16):
            batches.append(encoder(pixels.contiguous(memory_format=torch.channels_last)).half())
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
