"""The solvers: which scheduler of diffusers each is, and how it is set up."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import SamplingError
from .schedule import TRAINING_SCHEDULE

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

AUTO = "auto"
"""In place of a solver's name: the one that the model was made for."""

MOST_STEPS = TRAINING_SCHEDULE["num_train_timesteps"] - 1
"""More would visit a timestep twice."""


@dataclass(frozen=True)
class Solver:
    """A diffusers scheduler, how it is set up, and what it needs."""

    scheduler: str
    """Name of the class in diffusers."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What is set beside the training schedule; the rest is diffusers' default."""
    steps: int = 20
    """Steps that do it justice."""
    most_steps: int = MOST_STEPS
    guided: bool = True
    """Whether it is meant to run with guidance."""
    draws_noise: bool = False
    """Whether each step adds fresh noise."""
    learned_variance: bool = False
    """Whether it reads the variance that the model predicts beside the noise."""
    exploding: bool = False
    """Whether its state is the latent plus sigma times noise, as the host's, and not of unit
    variance."""
    works_out_ends: bool = False
    """Whether it works out from the number of steps where a step ends."""
    timesteps: tuple[int, ...] = ()
    """The only timesteps it can visit; empty where the number of steps or SIGMAS decide."""


_DDPM = {"clip_sample": False, "timestep_spacing": "linspace"}

SOLVERS: Mapping[str, Solver] = {
    "DPM-Solver++": Solver(
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"},
    ),
    "SA-Solver": Solver(
        "SASolverScheduler",
        # Its own default stochasticity is the papers': 1 at timesteps 200..800, else 0.
        {"algorithm_type": "data_prediction", "predictor_order": 2, "corrector_order": 2},
        steps=25,
        draws_noise=True,
    ),
    "IDDPM": Solver(
        "DDPMScheduler",
        {**_DDPM, "variance_type": "learned_range"},
        steps=100,
        draws_noise=True,
        learned_variance=True,
    ),
    "DDIM": Solver(
        "DDIMScheduler",
        # Trailing is the only spacing in which its first step starts at pure noise.
        {"clip_sample": False, "timestep_spacing": "trailing"},
        steps=50,
        works_out_ends=True,
    ),
    "Euler": Solver(
        "EulerDiscreteScheduler", {"timestep_spacing": "linspace"}, steps=30, exploding=True
    ),
    "UniPC": Solver("UniPCMultistepScheduler", {"solver_order": 2, "solver_type": "bh2"}),
    "DEIS": Solver("DEISMultistepScheduler", {"solver_order": 2}),
    "LCM": Solver(
        "LCMScheduler",
        {"original_inference_steps": 50},
        steps=4,
        most_steps=50,
        guided=False,
        draws_noise=True,
    ),
    "DMD": Solver(
        "DDPMScheduler",
        _DDPM,
        steps=1,
        most_steps=1,
        guided=False,
        timesteps=(400,),
    ),
}
"""By the name that users choose."""


def new_scheduler(solver: str) -> SchedulerMixin:
    """Return diffusers' scheduler of that solver, set up as for PixArt's released models.

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
