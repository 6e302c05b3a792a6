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

from .captions import Captioner, pad_rows
from .denoiser import Pair, sample
from .recipe import PictureSet, Recipe
from .scenes import random_scene
from .vae import latents_of

_AT_LATENT_SIZE = 5
"""Layers of diffusers' tiny decoder before it enlarges: the first, its activation, three blocks."""
_AT_ONCE = 25
"""Pictures drawn in one batch."""

_CROP = 20
"""Most latent pixels along a side that are looked at in a step."""
_RIGHT_EVERY = 3
"""One in so many of a batch is shown as it should be too, turned: so other outlines stay right."""

Drawn = tuple[Tensor, Tensor]
"""Latents as they were drawn and as they should be, (N, 4, h, w) each."""


def polish(
    vae: AutoencoderTiny,
    pair: Pair,
    captioner: Captioner,
    recipe: Recipe,
    sets: Sequence[PictureSet],
) -> None:
    """Let the denoiser draw, and train the decoder's first layers in place."""
    rng = random.Random(f"polish {recipe.seed}")
    drawn = [_drawn(pair, captioner, part, rng) for part in tqdm(sets, desc="drawn latents")]
    steady(vae, drawn, recipe)


def steady(vae: AutoencoderTiny, drawn: Sequence[Drawn], recipe: Recipe) -> None:
    """Train the decoder's first layers on drawn latents of several sizes."""
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    learner = vae.decoder.layers[:_AT_LATENT_SIZE].train()
    teacher = copy.deepcopy(learner).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(learner.parameters(), recipe.polish_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.polish_rate, total_steps=recipe.polish_steps, pct_start=0.1
    )
    counts = [len(right) for _, right in drawn]
    bar = tqdm(range(recipe.polish_steps), desc="polish")
    for _ in bar:
        ((found, right),) = rng.choices(drawn, counts)
        chosen = rng.sample(range(len(right)), min(recipe.polish_batch, len(right)))
        loss = _loss(learner, teacher, *_cropped(found[chosen], right[chosen]), recipe)
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


def _cropped(found: Tensor, right: Tensor) -> Drawn:
    """Cut the same part out of both, where they are larger than it."""
    top, left = (int(torch.randint(max(n - _CROP, 0) + 1, ())) for n in right.shape[2:])
    part = (..., slice(top, top + _CROP), slice(left, left + _CROP))
    return found[part], right[part]


def _drawn(pair: Pair, captioner: Captioner, part: PictureSet, rng: random.Random) -> Drawn:
    """Draw scenes from their captions, and pair them with what was asked for."""
    scenes = [random_scene(rng) for _ in range(part.count)]
    rows = [captioner.tokenizer(scene.caption())["input_ids"] for scene in scenes]
    empty = captioner.tokenizer("")["input_ids"]
    found = [
        sample(
            pair,
            *pad_rows([*rows[at : at + _AT_ONCE], empty]),
            (part.width, part.height),
            seed=rng.randrange(2**31),
        )
        for at in range(0, len(rows), _AT_ONCE)
    ]
    return torch.cat(found), latents_of(scenes, part.width, part.height).float()
