"""The decoder's last lesson: to restore pictures from latents as the denoiser draws them.

The denoiser's outlines tremble by a part of a latent pixel. What decoder layers at the latents' own
size make of such a latent is brought near to what they make of the right one; the layers above,
which cost nearly all of the time, stay as they are. Right latents are shown too, so that what was
learned of other pictures is kept.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence

import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn
from tqdm import tqdm

from .drawn import Drawn
from .recipe import Recipe

_AT_LATENT_SIZE = 5
"""Layers of diffusers' tiny decoder before it enlarges: the first, its activation, three blocks."""
_CROP = 20
"""Most latent pixels along a side that are looked at in a step."""
_RIGHT_EVERY = 3
"""One in so many of a batch is shown as it should be too, turned: so other outlines stay right."""


def polish(vae: AutoencoderTiny, drawn: Sequence[Drawn], recipe: Recipe) -> None:
    """Train the decoder's first layers in place, on drawn latents of several sizes."""
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    learner = vae.decoder.layers[:_AT_LATENT_SIZE].train()
    teacher = copy.deepcopy(learner).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(learner.parameters(), recipe.polish_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.polish_rate, total_steps=recipe.polish_steps, pct_start=0.1
    )
    counts = [len(part.scenes) for part in drawn]
    bar = tqdm(range(recipe.polish_steps), desc="polish")
    for _ in bar:
        (part,) = rng.choices(drawn, counts)
        chosen = rng.sample(range(len(part.scenes)), min(recipe.polish_batch, len(part.scenes)))
        found, right = _cropped(part.found[chosen], part.right[chosen])
        loss = _loss(learner, teacher, found, right, recipe)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(missed=f"{loss.item():.4f}")
    vae.eval()


def _loss(
    learner: nn.Module, teacher: nn.Module, found: Tensor, right: Tensor, recipe: Recipe
) -> Tensor:
    """Compare with the teacher's features, relative to how much those vary."""
    turned = torch.rot90(right[::_RIGHT_EVERY], int(torch.randint(4, ())), (2, 3))
    strength = torch.rand(len(turned), 1, 1, 1) * recipe.latent_noise
    noisy = turned + strength * torch.randn_like(turned)
    with torch.no_grad():
        features, others = teacher(right), teacher(turned)
    missed = (learner(found) - features).square().mean()
    return (missed + (learner(noisy) - others).square().mean()) / features.var()


def _cropped(found: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Cut the same part out of both, where they are larger than it."""
    top, left = (int(torch.randint(max(n - _CROP, 0) + 1, ())) for n in right.shape[2:])
    part = (..., slice(top, top + _CROP), slice(left, left + _CROP))
    return found[part], right[part]
