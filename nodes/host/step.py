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


@dataclass
class Step:
    """One step of a solver."""

    timestep: Tensor
    """The exact one, fp32 without dimensions; the host would round it to a whole number. (A number
    would become a constant of a compiled model.)"""
    prompts: frozenset[Any] = frozenset()
    """The host's marks of the prompts whose variance is wanted; none where it is not."""
    variance: Tensor | None = None
    """That, for the prompt, (B, C, H, W), once the model has run."""

    def exact(self, rounded: Tensor) -> Tensor:
        """Return the exact timesteps in place of the host's, (B,).

        Those that another node asks for at another noise level are left as they are.
        """
        exact = self.timestep.to(rounded)
        return torch.where((rounded - exact).abs() <= 1, exact, rounded)

    def keep(self, variance: Tensor, marks: Sequence[Any]) -> None:
        """Take the prompt's variance out of a batch of conditionings, (len(marks) * B, C, H, W)."""
        parts = zip(variance.chunk(len(marks)), marks, strict=True)
        rows = [part for part, mark in parts if mark in self.prompts]
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
