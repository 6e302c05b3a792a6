"""The noise schedule of PixArt and the timesteps that a solver visits."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import SamplingError

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

TRAINING_SCHEDULE: Mapping[str, Any] = MappingProxyType(
    {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
)
"""Betas of every released family, in the words of diffusers."""

MOST_STEPS = TRAINING_SCHEDULE["num_train_timesteps"] - 1
"""More would visit a timestep twice."""


@dataclass(frozen=True)
class Solver:
    """A diffusers scheduler and how it is set up."""

    scheduler: str
    """Name of the class in diffusers."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What is set beside the training schedule."""


SOLVERS = {
    "DPM-Solver++": Solver(
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"},
    ),
}


def new_scheduler(solver: str) -> SchedulerMixin:
    """Return diffusers' scheduler of that name, set up as for PixArt's released models.

    Raises SamplingError where diffusers is not installed.
    """
    try:
        import diffusers
    except ImportError as error:
        raise SamplingError(
            "The solver cannot be made",
            found="no package diffusers in the Python that runs ComfyUI",
            expected="diffusers 0.31 or newer",
            advice=f'Run "{sys.executable}" -m pip install "diffusers>=0.31" and restart ComfyUI.',
        ) from error

    entry = SOLVERS[solver]
    return getattr(diffusers, entry.scheduler)(**TRAINING_SCHEDULE, **entry.options)


def set_timesteps(scheduler: SchedulerMixin, steps: int, denoise: float = 1.0) -> Tensor:
    """Prepare a scheduler and return its timesteps, highest first, as diffusers rounds them.

    With ``denoise`` (0..1, not 0) below 1 they are the last ``steps`` of steps / denoise, so that
    the number of steps is the one that was asked for. It is smaller where so many do not fit
    between whole timesteps: twice the same one would divide by zero. ``steps``: 1..MOST_STEPS.
    """
    total = round(min(max(steps, steps / denoise), MOST_STEPS))
    scheduler.set_timesteps(total)
    count = min(steps, max(1, round(total * denoise)))
    timesteps: Tensor = scheduler.timesteps[-count:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(len(scheduler.timesteps) - len(timesteps))
    return timesteps


def sigmas_of(scheduler: SchedulerMixin, timesteps: Tensor) -> Tensor:
    """Return sqrt((1 - a) / a) of integer timesteps, in fp64: the host's noise levels."""
    alphas = scheduler.alphas_cumprod.double()[timesteps.long()]
    return torch.sqrt((1 - alphas) / alphas)
