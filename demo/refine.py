"""The last stage: the decoder learns to draw what the denoiser means.

A denoiser this small leaves outlines that wobble by half a token. It draws known scenes again from
their noised latents; the decoder learns to make the clean pictures of what comes out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderTiny, DPMSolverMultistepScheduler
from torch import Tensor
from tqdm import tqdm

from .captions import Captioner, pad_rows
from .denoiser import GUIDANCE, Pair, Pictures, guided_noise
from .recipe import BUCKETS, SMALL, PictureSet, Recipe
from .scenes import Scene
from .vae import picture_tensors, restoration_error

_BATCH = 16
_STEPS = 20


@dataclass(frozen=True)
class Redrawn:
    """Scenes of one size, the encoder's latents of them, and the denoiser's."""

    size: PictureSet
    scenes: list[Scene]
    exact: Tensor
    drawn: Tensor


def redraw(
    recipe: Recipe, pair: Pair, captioner: Captioner, pictures: Sequence[Pictures]
) -> list[Tensor]:
    """Let the denoiser draw the first scenes of each size again: (N, 4, h, w) fp16 each."""
    rng = random.Random(recipe.seed)
    torch.manual_seed(recipe.seed)
    counts = [redrawn_count(recipe, size) for size in (SMALL, *BUCKETS)]
    out = []
    for part, count in zip(tqdm(pictures, desc="redrawn"), counts, strict=True):
        batches = [
            _redraw(pair, captioner, part, range(first, min(first + _BATCH, count)), rng)
            for first in range(0, count, _BATCH)
        ]
        out.append(torch.cat(batches).half())
    return out


def redrawn_count(recipe: Recipe, size: PictureSet) -> int:
    """Return how many scenes of a size are drawn again."""
    return recipe.redrawn_small if size is SMALL else recipe.redrawn_bucket


@torch.no_grad()
def _redraw(
    pair: Pair, captioner: Captioner, part: Pictures, rows: range, rng: random.Random
) -> Tensor:
    device = next(pair.parameters()).device
    texts = [part.scenes[row].caption() for row in rows]
    tokens = [captioner.tokenizer(text)["input_ids"] for text in (*texts, "")]
    ids, mask = (tensor.to(device) for tensor in pad_rows(tokens))
    solver = DPMSolverMultistepScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    solver.set_timesteps(_STEPS)
    # From 600 down, where the layout stands and outlines are drawn; a few from further up.
    begin = rng.randint(6, 15)
    solver.set_begin_index(begin)
    clean = part.latents[rows.start : rows.stop].float().to(device)
    timesteps = solver.timesteps[begin:]
    x = solver.add_noise(clean, torch.randn_like(clean), timesteps[:1].expand(len(clean)))
    for t in timesteps:
        x = solver.step(guided_noise(pair, x, t, ids, mask, GUIDANCE), t, x).prev_sample
    return x.cpu()


def refine(recipe: Recipe, vae: AutoencoderTiny, parts: Sequence[Redrawn]) -> AutoencoderTiny:
    """Train the decoder alone; the encoder, and with it the denoiser's latents, stay."""
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    decoder = vae.decoder.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(decoder.parameters(), recipe.refine_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.refine_rate, total_steps=recipe.refine_steps, pct_start=0.1
    )
    weights = [len(part.scenes) for part in parts]
    bar = tqdm(range(recipe.refine_steps), desc="decoder")
    for _ in bar:
        (part,) = rng.choices(parts, weights)
        batch = recipe.refine_batch if part.size is SMALL else max(1, recipe.refine_batch // 4)
        rows = rng.sample(range(len(part.scenes)), batch)
        pixels = picture_tensors([part.scenes[row] for row in rows], part.size).to(vae.device)
        latents = _latents(recipe, part, rows, rng).to(vae.device)
        with torch.autocast(vae.device.type, torch.bfloat16):
            restored = decoder(latents.contiguous(memory_format=torch.channels_last))
        loss = restoration_error(restored, pixels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.4f}")
    vae.decoder.to(memory_format=torch.contiguous_format)
    return vae.eval()


def _latents(recipe: Recipe, part: Redrawn, rows: list[int], rng: random.Random) -> Tensor:
    """Return the denoiser's latents, some of them the encoder's own, with a little noise."""
    chosen = [part.exact if rng.random() < recipe.refine_exact else part.drawn for _ in rows]
    latents = torch.stack([kind[row] for kind, row in zip(chosen, rows, strict=True)]).float()
    strength = torch.rand(len(rows), 1, 1, 1) * recipe.latent_noise / 2
    return latents + strength * torch.randn_like(latents)
