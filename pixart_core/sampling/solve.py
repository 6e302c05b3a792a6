"""The sampling loop around a diffusers scheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SamplingError
from .course import aim, follow
from .schedule import sigmas_of
from .solvers import SOLVERS


@dataclass(frozen=True)
class Predicted:
    """What the model says about a state."""

    clean: Tensor
    """The clean latent, (B, C, H, W)."""
    variance: Tensor | None = None
    """The learned variance's channels, (B, C, H, W), as the network gives them."""


Denoise = Callable[[Tensor, float, float], Predicted]
"""Takes a latent in the host's scale, its noise level sigma, and its timestep, maybe fractional."""

OnStep = Callable[[int, Tensor, Tensor], None]
"""Is told the step's number, the clean latent that was predicted, and the state (host's scale)."""


def solve(
    solver: str,
    latent: Tensor,
    sigmas: Tensor,
    denoise: Denoise,
    on_step: OnStep,
    generators: Sequence[torch.Generator] = (),
) -> Tensor:
    """Go from the first of ``sigmas`` (n + 1,) to the last, and return the final latent.

    ``latent``: (B, C, H, W) in the host's scale, the clean one plus sigma times noise; where the
    first sigma is the highest trained one, noise times sqrt(1 + sigma^2). ``generators``: one for
    each picture, needed where the solver draws noise. What is returned is in the host's scale.
    """
    entry = SOLVERS[solver]
    scheduler = follow(solver, sigmas)
    more = {"generator": list(generators)} if entry.draws_noise else {}
    state = latent if entry.exploding else latent / _length(float(sigmas[0]))
    steps = len(sigmas) - 1
    timesteps: Tensor = scheduler.timesteps[:steps]
    # Not those of the timesteps where it has its own: above the highest trained one they differ.
    levels = scheduler.sigmas[:steps] if hasattr(scheduler, "sigmas") else sigmas_of(timesteps)
    for step, (t, sigma) in enumerate(zip(timesteps, levels.tolist(), strict=True)):
        scaled = state if entry.exploding else state * _length(sigma)
        predicted = denoise(scaled, sigma, float(t))
        on_step(step, predicted.clean, scaled)
        output = (scaled - predicted.clean) / sigma
        if entry.learned_variance:
            output = torch.cat([output, _variance(predicted).to(output)], dim=1)
        scheduler.scale_model_input(state, t)
        aim(solver, scheduler, step)
        taken = scheduler.step(output, t, state, return_dict=False, **more)
        # DMD's one step is over with the clean latent that the scheduler derives.
        state = taken[1] if entry.timesteps else taken[0]
    return state if entry.exploding else state * _length(float(sigmas[-1]))


def _variance(predicted: Predicted) -> Tensor:
    if predicted.variance is None:
        raise SamplingError(
            "The solver cannot take this step",
            found="no variance beside the noise, because the model was not run for the prompt",
            expected="the prompt at every step, without a node that leaves steps out",
            advice="Choose another solver, or remove time ranges and caches.",
        )
    return predicted.variance


def _length(sigma: float) -> float:
    """Return how much longer the host's latents are than those of unit variance."""
    return (1 + sigma**2) ** 0.5
