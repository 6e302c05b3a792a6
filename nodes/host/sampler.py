"""Diffusers' solvers inside the host's sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ...pixart_core.errors import SamplingError
from ...pixart_core.sampling.schedule import SOLVERS, new_scheduler, set_timesteps
from ...pixart_core.sampling.solve import solve
from .model import PixArtModel

SOLVER_CHOICES = list(SOLVERS)


@dataclass(frozen=True)
class Settings:
    """What the user sets on the sampler."""

    seed: int
    steps: int
    guidance: float
    solver: str
    denoise: float


def sample(
    model: Any, positive: Any, negative: Any, latent: dict[str, Any], settings: Settings
) -> dict[str, Any]:
    """Denoise a LATENT and return it; its input is left as it was.

    Raises SamplingError for a MODEL that is no PixArt, and for a result that is not finite.
    """
    _check_model(model)
    image = comfy.sample.fix_empty_latent_channels(
        model, latent["samples"], latent.get("downscale_ratio_spacial")
    )
    if settings.denoise == 0:
        return {**latent, "samples": image}
    scheduler = new_scheduler(settings.solver)
    timesteps = set_timesteps(scheduler, settings.steps, settings.denoise)
    samples = comfy.sample.sample_custom(
        model,
        comfy.sample.prepare_noise(image, settings.seed, latent.get("batch_index")),
        settings.guidance,
        comfy.samplers.KSAMPLER(_run, {"scheduler": scheduler, "timesteps": timesteps}),
        _host_sigmas(model, timesteps),
        positive,
        negative,
        image,
        noise_mask=latent.get("noise_mask"),
        callback=latent_preview.prepare_callback(model, len(timesteps)),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=settings.seed,
    )
    _check_finite(samples)
    out = {key: value for key, value in latent.items() if not key.startswith("downscale_ratio")}
    return {**out, "samples": samples}


def _host_sigmas(model: Any, timesteps: Tensor) -> Tensor:
    sigmas = model.get_model_object("model_sampling").sigmas
    return torch.cat([sigmas[timesteps.long()], sigmas.new_zeros(1)])


def _run(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Any = None,
    disable: bool | None = None,
    *,
    scheduler: Any,
    timesteps: Tensor,
) -> Tensor:
    rows = x.new_ones(x.shape[0])

    def denoise(state: Tensor, sigma: float) -> Tensor:
        clean: Tensor = model(state, sigma * rows, **(extra_args or {}))
        return clean

    def on_step(step: int, clean: Tensor, state: Tensor) -> None:
        if callback is not None:
            callback({"i": step, "denoised": clean, "x": state, "sigma": sigmas[step]})

    start = x / (1 + sigmas[0] ** 2) ** 0.5
    return solve(scheduler, timesteps, start, denoise, on_step)


def _check_model(model: Any) -> None:
    if not isinstance(model.model, PixArtModel):
        raise SamplingError(
            "PixArt Sampler cannot run this model",
            found=f"a {type(model.model).__name__}",
            expected="a model from Load PixArt Model",
            advice="Load the model with Load PixArt Model, or use KSampler for other models.",
        )


def _check_finite(samples: Tensor) -> None:
    if not torch.isfinite(samples).all():
        raise SamplingError(
            "The picture came out empty",
            found="a latent with values that are not finite (NaN or infinity)",
            expected="finite numbers",
            advice="Set the weight precision of Load PixArt Model to fp32 or bf16, and check that "
            "the prompts come from a T5 in bf16 or fp32.",
        )
