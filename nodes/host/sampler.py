"""Diffusers' solvers inside the host's sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ...pixart_core.errors import SamplingError
from ...pixart_core.sampling.schedule import new_scheduler, set_timesteps, sigmas_of
from ...pixart_core.sampling.solve import solve
from .model import PixArtModel


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

    Raises SamplingError for a MODEL that is no PixArt or has another noise schedule, for settings
    that are no numbers, and for a result that is not finite. A guidance below 1 counts as 1, as
    in diffusers: the prompt alone.
    """
    _check_model(model)
    _check_numbers(settings)
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
        max(settings.guidance, 1.0),
        comfy.samplers.KSAMPLER(_run, {"scheduler": scheduler, "timesteps": timesteps}),
        _host_sigmas(model, scheduler, timesteps),
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


def _host_sigmas(model: Any, scheduler: Any, timesteps: Tensor) -> Tensor:
    sampling = model.get_model_object("model_sampling")
    wanted = sigmas_of(scheduler, timesteps).float()
    if len(sampling.sigmas) == scheduler.config.num_train_timesteps:
        found = sampling.sigmas[timesteps.long()].cpu()
        if torch.allclose(found, wanted, rtol=1e-3):
            return torch.cat([found, found.new_zeros(1)])
    raise SamplingError(
        "PixArt Sampler cannot follow this model's noise schedule",
        found="one that a node before it has changed",
        expected="the one that PixArt was trained with",
        advice="Remove the ModelSampling node, or sample with KSampler.",
    )


def _check_numbers(settings: Settings) -> None:
    # The host's own limits let NaN through.
    if not (math.isfinite(settings.guidance) and 0 <= settings.denoise <= 1):
        raise SamplingError(
            "PixArt Sampler cannot use these settings",
            found=f"a guidance of {settings.guidance} and a denoise of {settings.denoise}",
            expected="a number, and a number from 0 to 1",
            advice="Set guidance to 4.5 and denoise to 1 if in doubt.",
        )


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
    if not isinstance(getattr(model, "model", None), PixArtModel):
        raise SamplingError(
            "PixArt Sampler cannot run this model",
            found="none" if model is None else f"a {type(model.model).__name__}",
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
