"""The noise levels that a solver goes through: its own, or others that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import SamplingError
from .schedule import sigmas_of, timesteps_of
from .solvers import MOST_STEPS, SOLVERS, new_scheduler

if TYPE_CHECKING:
    from diffusers import SchedulerMixin


def own_sigmas(
    solver: str, steps: int, denoise: float = 1.0, start: int = 0, end: int | None = None
) -> Tensor:
    """Return the noise levels of a solver's own timesteps, highest first, (n + 1,) fp32.

    With ``denoise`` (0..1, not 0) below 1 they are the last ``steps`` of steps / denoise, so that
    the number of steps is the one that was asked for. It is smaller where so many do not fit
    between whole timesteps: twice the same one would divide by zero. ``start`` and ``end`` cut
    out of those, counted from 0; what begins behind the end is a SamplingError. The last level
    is 0 where nothing is cut off the end. ``steps``: 1..the solver's most.
    """
    entry = SOLVERS[solver]
    if denoise < 1 and entry.timesteps:
        raise SamplingError(
            f"{solver} cannot draw a part of a picture",
            found=f"a denoise of {denoise}",
            expected="1: it draws anew, in one step",
            advice="Set denoise to 1, or choose another solver.",
        )
    total = round(min(max(steps, steps / denoise), entry.most_steps))
    timesteps = _timesteps(solver, total)
    count = min(steps, max(1, round(total * denoise)), len(timesteps))
    levels = torch.cat([sigmas_of(timesteps[-count:]), torch.zeros(1, dtype=torch.double)])
    cut = levels[start : None if end is None else end + 1].float()
    if len(cut) < 2 and (start or end is not None):
        raise SamplingError(
            "The schedule has no step left",
            found=f"a start step of {start} and an end step of {end} of {count} steps",
            expected=f"a start below the end, and below {count}",
            advice="Lower the start step or raise the end step.",
        )
    return cut


def _timesteps(solver: str, total: int) -> Tensor:
    """Return a solver's own timesteps for a number of steps, highest first."""
    fixed = SOLVERS[solver].timesteps
    if fixed:
        return torch.tensor(fixed)
    if total == 1:
        # Even spacing from 0 to 999 has one point at 0 where diffusers ends at 0.
        return torch.tensor([MOST_STEPS])
    scheduler = new_scheduler(solver)
    scheduler.set_timesteps(total)
    timesteps: Tensor = scheduler.timesteps
    # Rounding makes diffusers' trailing spacing end in -1 for some numbers of steps.
    return timesteps[timesteps >= 0]


def follow(solver: str, sigmas: Tensor) -> SchedulerMixin:
    """Return the solver's scheduler, its own tables set so that it visits ``sigmas``, (n + 1,).

    Raises SamplingError for levels that do not fall, and for those that the solver cannot follow.
    """
    # First to the CPU: not every device has fp64.
    sigmas = sigmas.cpu().double()
    _check_falling(sigmas)
    scheduler = new_scheduler(solver)
    if SOLVERS[solver].timesteps:
        _check_own(solver, sigmas)
    if hasattr(scheduler, "sigmas"):
        return _follow_levels(scheduler, sigmas)
    scheduler.set_timesteps(1)
    return _set_timesteps(scheduler, _whole_timesteps(solver, sigmas))


def _follow_levels(scheduler: SchedulerMixin, sigmas: Tensor) -> SchedulerMixin:
    """Set the tables of a scheduler that knows noise levels."""
    scheduler.set_timesteps(len(sigmas) - 1)
    # Some solvers cannot reach 0: they end at the lowest trained level, as in diffusers.
    last = sigmas[-1:].clamp(min=float(scheduler.sigmas[-1]))
    scheduler.sigmas = torch.cat([sigmas[:-1], last]).float()
    scheduler.timesteps = timesteps_of(sigmas[:-1]).float()
    scheduler.set_begin_index(0)
    return scheduler


def _whole_timesteps(solver: str, sigmas: Tensor) -> list[int]:
    """Return the whole timesteps nearest to noise levels; the end is one of them if not 0."""
    # At 0 there is nothing left to do, and no timestep.
    kept = sigmas if sigmas[-1] > 0 else sigmas[:-1]
    timesteps = [int(t) for t in timesteps_of(kept).round()]
    if len(set(timesteps)) < len(timesteps):
        raise SamplingError(
            f"{solver} cannot follow these sigmas",
            found="two of them at the same of the 1000 trained timesteps",
            expected="every sigma at its own",
            advice="Take fewer steps, or the sigmas of PixArt Schedule.",
        )
    return timesteps


def _check_own(solver: str, sigmas: Tensor) -> None:
    """Raise SamplingError unless these are the levels of the only timesteps a solver visits."""
    fixed = list(SOLVERS[solver].timesteps)
    if sigmas[-1] == 0 and _whole_timesteps(solver, sigmas) == fixed:
        return
    able = ", ".join(name for name, entry in SOLVERS.items() if not entry.timesteps)
    raise SamplingError(
        f"{solver} cannot follow these sigmas",
        found="noise levels that are not its own",
        expected=f"those that PixArt Schedule gives for {solver}",
        advice=f"Connect PixArt Schedule with the same solver, or choose one that can: {able}.",
    )


def _set_timesteps(scheduler: SchedulerMixin, timesteps: list[int]) -> SchedulerMixin:
    """Set the tables of a scheduler that knows whole timesteps."""
    scheduler.timesteps = torch.tensor(timesteps)
    scheduler.num_inference_steps = len(timesteps)
    if hasattr(scheduler, "custom_timesteps"):
        # Or diffusers 0.31 would work out the next timestep instead of looking it up.
        scheduler.custom_timesteps = True
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    return scheduler


def aim(solver: str, scheduler: SchedulerMixin, step: int) -> None:
    """Tell a scheduler that works out where a step ends where it does: at the next timestep.

    DDIM goes down by 1000 // steps, which is where the next step begins only if the steps divide
    1000: else noise is left.
    """
    if not SOLVERS[solver].works_out_ends:
        return
    timesteps = scheduler.timesteps.tolist()
    following = timesteps[step + 1] if step + 1 < len(timesteps) else -1
    scheduler.num_inference_steps = 1
    scheduler.register_to_config(num_train_timesteps=timesteps[step] - following)


def _check_falling(sigmas: Tensor) -> None:
    if not (
        sigmas.ndim == 1
        and len(sigmas) > 1
        and bool(torch.isfinite(sigmas).all())
        and bool((sigmas.diff() < 0).all())
        and float(sigmas[-1]) >= 0
    ):
        raise SamplingError(
            "The solver cannot follow these sigmas",
            found=str([round(sigma, 3) for sigma in sigmas.flatten()[:8].tolist()]),
            expected="two or more finite numbers, each lower than the one before, none below 0",
            advice="Take them from PixArt Schedule, or from a scheduler node of the host.",
        )
