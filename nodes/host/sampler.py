"""What PixArt Sampler does with a latent."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import comfy.sample
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ...pixart_core.errors import SamplingError
from ...pixart_core.sampling.choice import choose
from ...pixart_core.sampling.course import own_sigmas
from .room import room_for
from .solver import DiffusersSampler, require_model

_LARGEST_SEED = 2**64 - 1


@dataclass(frozen=True)
class Settings:
    """What the user sets on the sampler."""

    seed: int
    steps: int
    guidance: float
    solver: str
    denoise: float
    seeds: str = ""
    """One for each picture, with commas, spaces or lines between; empty where ``seed`` is for
    all."""


@room_for(
    "The picture cannot be drawn",
    "Draw fewer pictures at once, or a smaller one and enlarge it afterwards; close what else uses "
    "the memory.",
)
def sample(
    model: Any, positive: Any, negative: Any, latent: dict[str, Any], settings: Settings
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Denoise a LATENT; return it, and what the user should know. Its input is left as it was.

    Raises SamplingError for a MODEL that is no PixArt or has another noise schedule, for settings
    that are no numbers, and for a result that is not finite. A guidance below 1 counts as 1, as
    in diffusers: the prompt alone.
    """
    require_model(getattr(model, "model", None))
    _check_numbers(settings)
    image = comfy.sample.fix_empty_latent_channels(
        model, latent["samples"], latent.get("downscale_ratio_spacial")
    )
    if settings.denoise == 0:
        return {**latent, "samples": image}, ()
    choice = choose(
        settings.solver,
        settings.steps,
        settings.guidance,
        model.model.variant,
        patched=bool(model.patches),
    )
    sigmas = own_sigmas(choice.solver, choice.steps, settings.denoise)
    noise, rows = _noise(image, latent.get("batch_index"), settings)
    samples = comfy.sample.sample_custom(
        model,
        noise,
        choice.guidance,
        DiffusersSampler(choice.solver, rows),
        sigmas,
        positive,
        negative,
        image,
        noise_mask=latent.get("noise_mask"),
        callback=latent_preview.prepare_callback(model, len(sigmas) - 1),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=settings.seed,
    )
    out = {key: value for key, value in latent.items() if not key.startswith("downscale_ratio")}
    return {**out, "samples": samples}, choice.notices


def schedule(
    model: Any, solver: str, steps: int, denoise: float, start: int, end: int
) -> tuple[Tensor, tuple[str, ...]]:
    """Return SIGMAS of a solver for a MODEL, and what the user should know.

    None at a denoise of 0, as the host's own nodes.
    """
    require_model(getattr(model, "model", None))
    if not 0 <= denoise <= 1:
        raise SamplingError(
            "PixArt Schedule cannot use this denoise",
            found=f"{denoise}",
            expected="a number from 0 to 1",
            advice="Set it to 1 to draw anew.",
        )
    if denoise == 0:
        return torch.zeros(0), ()
    choice = choose(solver, steps, 1.0, model.model.variant, patched=bool(model.patches))
    sigmas = own_sigmas(choice.solver, choice.steps, denoise)
    end = min(end, len(sigmas) - 1)
    return own_sigmas(choice.solver, choice.steps, denoise, start, end), choice.notices


def _noise(
    image: Tensor, batch_index: list[int] | None, settings: Settings
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Return noise like ``image``, and the (seed, row) of each picture.

    One seed draws for the whole batch, as KSampler does; of several, each draws for its picture
    what it would draw for that alone.
    """
    seeds = _seeds(settings.seeds, len(image))
    if seeds:
        rows = [comfy.sample.prepare_noise(image[:1], seed).to(image.dtype) for seed in seeds]
        return torch.cat(rows), [(seed, 0) for seed in seeds]
    known = batch_index is not None and len(batch_index) == len(image)
    places = batch_index if known and batch_index is not None else range(len(image))
    noise = comfy.sample.prepare_noise(image, settings.seed, batch_index)
    return noise, [(settings.seed, place) for place in places]


def _seeds(text: str, pictures: int) -> list[int]:
    words = re.split(r"[\s,;]+", text.strip()) if text.strip() else []
    if not all(word.isascii() and word.isdigit() and len(word) <= 20 for word in words):
        raise _seeds_error(text[:80])
    seeds = [int(word) for word in words]
    if any(seed > _LARGEST_SEED for seed in seeds):
        raise _seeds_error(text[:80])
    if seeds and len(seeds) != pictures:
        raise SamplingError(
            "The seeds do not fit the batch",
            found=f"{len(seeds)} seeds for {pictures} pictures",
            expected="one for each picture, or none",
            advice="Set the batch size of PixArt Resolution to the number of seeds.",
        )
    return seeds


def _seeds_error(found: str) -> SamplingError:
    return SamplingError(
        "The list of seeds cannot be read",
        found=repr(found),
        expected=f"whole numbers from 0 to {_LARGEST_SEED}, with commas between",
        advice="Write for example 7, 8, 9, or leave it empty to use Seed.",
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
