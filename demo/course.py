"""Drawing as the sampler does it in use, with all that it goes through on the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from .denoiser import Pair
from .recipe import GUIDANCE, NETWORK, PictureSize


@dataclass(frozen=True)
class Course:
    """What a sampler went through."""

    states: Tensor
    """Latents before each step, (N, steps, 4, h, w)."""
    timesteps: Tensor
    """Of each step, falling: (steps,)."""
    end: Tensor
    """What came out, (N, 4, h, w)."""


@torch.no_grad()
def course(
    pair: Pair, ids: Tensor, mask: Tensor, size: PictureSize, steps: int = 20, seed: int = 0
) -> Course:
    """Draw latents for token rows, the last row being the empty caption."""
    solver = DPMSolverMultistepScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    solver.set_timesteps(steps)
    device = next(pair.parameters()).device
    count = len(ids) - 1
    ids = torch.cat([ids[:-1], ids[-1:].expand(count, -1)]).to(device)
    mask = torch.cat([mask[:-1], mask[-1:].expand(count, -1)]).to(device)
    generator = torch.Generator().manual_seed(seed)
    width, height = size.width // 8, size.height // 8
    x = torch.randn(count, NETWORK.in_channels, height, width, generator=generator).to(device)
    states = []
    for t in solver.timesteps.to(device):
        states.append(x.cpu())
        cond, uncond = pair(torch.cat([x, x]), t.expand(2 * count), ids, mask).chunk(2)
        x = solver.step(uncond + GUIDANCE * (cond - uncond), t, x).prev_sample
    return Course(torch.stack(states, 1), solver.timesteps.cpu(), x.cpu())
