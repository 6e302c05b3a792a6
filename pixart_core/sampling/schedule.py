"""The noise schedule that PixArt was trained with: timesteps and noise levels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

TRAINING_SCHEDULE: Mapping[str, Any] = MappingProxyType(
    {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
)
"""Betas of every released family, in the words of diffusers."""


@cache
def training_sigmas() -> Tensor:
    """Return sqrt((1 - a) / a) of timesteps 0..999, fp64 (1000,): the host's noise levels.

    The products are rounded to fp32 one by one, as diffusers and the host do.
    """
    betas = torch.linspace(
        TRAINING_SCHEDULE["beta_start"],
        TRAINING_SCHEDULE["beta_end"],
        TRAINING_SCHEDULE["num_train_timesteps"],
        dtype=torch.float32,
    )
    alphas = torch.cumprod(1 - betas, 0).double()
    return torch.sqrt((1 - alphas) / alphas)


def sigmas_of(timesteps: Tensor) -> Tensor:
    """Return the noise levels of timesteps in 0..999, fp64; between whole ones along a line."""
    table = training_sigmas()
    t = timesteps.double().clamp(0, len(table) - 1)
    low = t.long().clamp(max=len(table) - 2)
    return torch.lerp(table[low], table[low + 1], t - low)


def timesteps_of(sigmas: Tensor) -> Tensor:
    """Return the timesteps of noise levels, fp64, 0..999: the inverse of ``sigmas_of``.

    Within a thousandth of a whole timestep it is that one, because SIGMAS come in fp32.
    """
    table = training_sigmas()
    s = sigmas.cpu().double().clamp(table[0], table[-1])
    high = torch.searchsorted(table, s).clamp(min=1)
    t = high - 1 + (s - table[high - 1]) / (table[high] - table[high - 1])
    whole = t.round()
    return torch.where((t - whole).abs() < 1e-3, whole, t)
