"""The demo's autoencoder: diffusers' tiny one, trained on crops of the scenes."""

from __future__ import annotations

import random
from dataclasses import replace

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
_RADII, _PLACES = (0.18, 0.4), (0.2, 0.8)
"""Wider than what the denoiser is taught, so that pictures of other origin come back too."""
_STARS = [combination for combination in SEEN if combination[0] == "star"]
_STAR_SHARE = 0.5
"""Share of the crops that are stars for sure: their arms are what small pictures lose first."""
PATCH = 8
"""Pixels to a latent pixel, along each side."""


def train_vae(recipe: Recipe, device: torch.device) -> AutoencoderTiny:
    """Train the encoder to give ``patch_means``, and the decoder to restore pictures from them."""
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    vae = AutoencoderTiny().to(device, memory_format=torch.channels_last)
    descent = Descent(vae, recipe.vae_rate, recipe.vae_steps)
    bar = tqdm(range(recipe.vae_steps), desc="vae")
    for _ in bar:
        pixels, contrast = (part.to(device) for part in crops(rng, recipe))
        pixels = pixels.to(memory_format=torch.channels_last)
        error = (vae.decoder(flawed_latents(pixels, recipe)) - pixels) / contrast
        learned = pixels[: recipe.vae_encoded]
        missed = vae.encoder(learned) - patch_means(learned)
        descent.step(error_loss(error) + missed.square().mean())
        bar.set_postfix(
            restored=f"{error.square().mean().item():.5f}",
            encoded=f"{missed.square().mean().item():.5f}",
        )
    return vae.to("cpu", memory_format=torch.contiguous_format).eval()


class Descent:
    """Steps down a loss, at a rate that rises for a tenth of them and then falls to zero."""

    def __init__(self, module: torch.nn.Module, rate: float, steps: int) -> None:
        self._module = module
        self._optimizer = torch.optim.AdamW(module.parameters(), rate, weight_decay=0.0)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, rate, total_steps=steps, pct_start=0.1
        )

    def step(self, loss: Tensor) -> None:
        """Change the module's weights a little."""
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._module.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()


def error_loss(error: Tensor) -> Tensor:
    """Return what the errors of restored pixels count for."""
    return error.square().mean() + 0.3 * error.abs().mean()


def flawed_latents(pixels: Tensor, recipe: Recipe) -> Tensor:
    """Return latents as a denoiser may leave them: of a picture bent a little, and with noise."""
    count, _, height, width = pixels.shape
    device = pixels.device
    bends = torch.randn(count, 2, height // PATCH, width // PATCH, device=device)
    bends *= torch.rand(count, 1, 1, 1, device=device) * recipe.latent_bend
    bends = functional.interpolate(bends, size=(height, width), mode="bicubic")
    # From pixels to grid_sample's range from -1 to 1 across the picture.
    shift = bends.permute(0, 2, 3, 1) * 2 / torch.tensor([width, height], device=device)
    straight = torch.eye(2, 3, device=device).expand(count, 2, 3)
    grid = functional.affine_grid(straight, list(pixels.shape), align_corners=False)
    bent = functional.grid_sample(
        pixels, grid + shift, padding_mode="reflection", align_corners=False
    )
    latents = patch_means(bent)
    strength = torch.rand(count, 1, 1, 1, device=device) * recipe.latent_noise
    return latents + strength * torch.randn_like(latents)


def patch_means(pixels: Tensor) -> Tensor:
    """Return what a latent is: red, green, blue and colourfulness, averaged over 8 by 8 pixels.

    (N, 3, H, W) in -1..1 to (N, 4, H / 8, W / 8), of about zero mean and unit variance. An encoder
    left to itself puts all colours on one line, and hides outlines in details that a denoiser this
    small cannot guess. Here every channel of a patch is the same mixture of two colours.
    """
    return functional.avg_pool2d(standardised(pixels), PATCH)


def standardised(pixels: Tensor) -> Tensor:
    """Return red, green, blue and colourfulness of each pixel, (N, 3, H, W) to (N, 4, H, W)."""
    palette = _channels(torch.tensor(list(COLOURS.values()), device=pixels.device) / 127.5 - 1)
    centre, spread = palette.mean(0)[:, None, None], palette.std(0)[:, None, None]
    return (_channels(pixels.movedim(1, -1)).movedim(-1, 1) - centre) / spread


def _channels(rgb: Tensor) -> Tensor:
    return torch.cat([rgb, rgb.amax(-1, keepdim=True) - rgb.amin(-1, keepdim=True)], -1)


def crops(rng: random.Random, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Return crops (N, 3, side, side) in -1..1, and how far apart their colours are.

    Errors are divided by the latter, (N, 1, 1, 1): an outline of orange on yellow is to count as
    much as one of black on white.
    """
    pixels, contrasts = zip(*(_crop(rng, recipe) for _ in range(recipe.vae_batch)), strict=True)
    return torch.stack(pixels), torch.tensor(contrasts)[:, None, None, None]


def _crop(rng: random.Random, recipe: Recipe) -> tuple[Tensor, float]:
    star = rng.choice(_STARS) if rng.random() < _STAR_SHARE else None
    side, crop = rng.choice(_SIDES), recipe.vae_crop
    scene = replace(random_scene(rng, star), x=rng.uniform(*_PLACES), radius=rng.uniform(*_RADII))
    x, y = near_outline(rng, scene, (side, side), crop)
    return to_tensor(scene, side, side)[:, y : y + crop, x : x + crop], contrast_of(scene)


def near_outline(
    rng: random.Random, scene: Scene, size: tuple[int, int], crop: int, grid: int = 1
) -> tuple[int, int]:
    """Return where a crop about some corner of the outline begins, in pixels on a grid."""
    x, y = (
        grid * min(max(round((at + rng.uniform(-0.6, 0.6) * crop - crop / 2) / grid), 0), last)
        for at, last in zip(
            rng.choice(outline_of(scene, *size)),
            ((length - crop) // grid for length in size),
            strict=True,
        )
    )
    return x, y


def contrast_of(scene: Scene) -> float:
    """Return how far apart the scene's two colours are, as a root mean square in -1..1."""
    apart = np.subtract(COLOURS[scene.colour], COLOURS[scene.ground]) / 127.5
    return float(np.sqrt(np.mean(apart**2)))


def to_tensor(scene: Scene, width: int, height: int) -> Tensor:
    """Draw a scene as a tensor, (3, height, width) in -1..1."""
    pixels = np.asarray(draw(scene, width, height), dtype=np.float32)
    return torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)


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
