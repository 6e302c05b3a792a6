"""The sampling loop around a diffusers scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from .schedule import sigmas_of

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

Denoise = Callable[[Tensor, float], Tensor]
"""Takes a latent at noise level sigma in the host's scale, and sigma; returns its clean latent."""

OnStep = Callable[[int, Tensor, Tensor], None]
"""Is told the step's number, the clean latent that was predicted, and the state (host's scale)."""


def solve(
    scheduler: SchedulerMixin, timesteps: Tensor, latent: Tensor, denoise: Denoise, on_step: OnStep
) -> Tensor:
    """Run a prepared scheduler over its timesteps and return the final latent.

    ``latent`` is in the scheduler's own, variance-preserving scale: unit variance at the first
    timestep of a full run. The host's scale is sqrt(1 + sigma^2) times that, where the noise is
    (x - clean) / sigma.
    """
    for step, (t, sigma) in enumerate(
        zip(timesteps, sigmas_of(scheduler, timesteps).tolist(), strict=True)
    ):
        state = latent * (1 + sigma**2) ** 0.5
        clean = denoise(state, sigma)
        on_step(step, clean, state)
        noise = (state - clean) / sigma
        latent = scheduler.step(noise, t, latent, return_dict=False)[0]
    return latent
