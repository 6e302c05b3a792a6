"""The decoder's last lesson: to restore pictures from the latents that the denoiser really leaves.

Bends and noise are a guess of what those are like. Here half of what the decoder learns from was
drawn by the trained denoiser, beside the picture of the scene that it was asked for; latents stay
as they are defined, so only the decoder learns.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from diffusers import AutoencoderTiny
from torch import Tensor
from tqdm import tqdm

from .denoiser import Trainer
from .mending import Drawn, draw_round
from .recipe import Recipe
from .vae import (
    PATCH,
    Descent,
    contrast_of,
    crops,
    error_loss,
    flawed_latents,
    near_outline,
    to_tensor,
)


def finish(trainer: Trainer, vae: AutoencoderTiny) -> None:
    """Train the decoder on what the trainer's average draws, and on bent pictures, in turn."""
    recipe, rng = trainer.recipe, random.Random(f"finishing {trainer.recipe.seed}")
    torch.manual_seed(recipe.seed)
    drawn = [each for part in draw_round(trainer, recipe.finishing_sets, rng) for each in part]
    decoder = vae.decoder.to(trainer.device, memory_format=torch.channels_last).train()
    descent = Descent(decoder, recipe.vae_rate, recipe.finishing_steps)
    bar = tqdm(range(recipe.finishing_steps), desc="decoder")
    for step in bar:
        if step % 2:
            pixels, contrast = crops(rng, recipe)
            latents = flawed_latents(pixels, recipe)
        else:
            latents, pixels, contrast = drawn_crops(drawn, rng, recipe)
        latents, pixels, contrast = (p.to(trainer.device) for p in (latents, pixels, contrast))
        error = (decoder(latents) - pixels) / contrast
        descent.step(error_loss(error))
        bar.set_postfix(restored=f"{error.square().mean().item():.5f}")
    decoder.to("cpu", memory_format=torch.contiguous_format).eval()


def drawn_crops(
    drawn: Sequence[Drawn], rng: random.Random, recipe: Recipe
) -> tuple[Tensor, Tensor, Tensor]:
    """Return crops of drawn latents, what they should restore, and how far apart its colours are.

    (N, 4, side / 8, side / 8), (N, 3, side, side) in -1..1, and (N, 1, 1, 1). Each is about a
    corner of its outline.
    """
    found = [_drawn_crop(rng.choice(drawn), rng, recipe.vae_crop) for _ in range(recipe.vae_batch)]
    latents, pixels, contrasts = zip(*found, strict=True)
    return (
        torch.stack(latents),
        torch.stack(pixels),
        torch.tensor(contrasts)[:, None, None, None],
    )


def _drawn_crop(drawn: Drawn, rng: random.Random, crop: int) -> tuple[Tensor, Tensor, float]:
    index, size = rng.randrange(len(drawn.scenes)), (drawn.size.width, drawn.size.height)
    scene = drawn.scenes[index]
    x, y = near_outline(rng, scene, size, crop, grid=PATCH)
    rows, columns = slice(y // PATCH, (y + crop) // PATCH), slice(x // PATCH, (x + crop) // PATCH)
    pixels = to_tensor(scene, *size)[:, y : y + crop, x : x + crop]
    return drawn.course.end[index][:, rows, columns], pixels, contrast_of(scene)
