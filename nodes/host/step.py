"""What our solvers and our model tell each other beside the host's MODEL interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...pixart_core.errors import SamplingError

STEP = "pixart_step"
"""Where it lies in ``transformer_options``: one for each call of the model."""

_POSITIVE = 0
"""How the host numbers the prompt among the conditionings of one call."""


@dataclass
class Step:
    """One step of a solver."""

    timestep: float
    """The exact one; the host would round it to a whole number."""
    learned_variance: bool = False
    """Whether the solver wants what the model predicts beside the noise."""
    variance: Tensor | None = None
    """That, for the prompt, (B, C, H, W), once the model has run."""

    def exact(self, rounded: Tensor) -> Tensor:
        """Return the exact timesteps in place of the host's, (B,).

        Those that another node asks for at another noise level are left as they are.
        """
        near = (rounded - self.timestep).abs() <= 1
        return torch.where(near, torch.full_like(rounded, self.timestep), rounded)

    def keep(self, variance: Tensor, kinds: Sequence[int]) -> None:
        """Take the prompt's variance out of a batch of conditionings, (len(kinds) * B, C, H, W)."""
        if not self.learned_variance:
            return
        rows = [part for part, kind in zip(variance.chunk(len(kinds)), kinds, strict=True)
                if kind == _POSITIVE]  # fmt: skip
        if len(rows) > 1:
            raise one_prompt_only(f"{len(rows)} of them at a time")
        if rows and self.variance is None:
            (self.variance,) = rows


def step_of(options: Any) -> Step | None:
    """Return the step under way, None where another sampler runs the model."""
    return None if options is None else options.get(STEP)


def one_prompt_only(found: str) -> SamplingError:
    """Return the error for prompts that IDDPM cannot bring together."""
    return SamplingError(
        "IDDPM cannot draw with several prompts in areas",
        found=found,
        expected="one prompt for the whole picture, whose learned variance it reads",
        advice="Choose another solver, or connect a single prompt.",
    )
