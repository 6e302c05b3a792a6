"""Diffusers' own pipelines with each solver: what ours are measured against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from diffusers import PixArtTransformer2DModel
from torch import Tensor

RELEASED = {
    "beta_schedule": "linear",
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
    "timestep_spacing": "linspace",
    "steps_offset": 0,
}
"""``scheduler_config.json`` of the released models."""

SWAPPED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "DPM-Solver++": ("DPMSolverMultistepScheduler", {}),
    "SA-Solver": ("SASolverScheduler", {"algorithm_type": "data_prediction"}),
    "DDIM": ("DDIMScheduler", {"clip_sample": False, "timestep_spacing": "trailing"}),
    "Euler": ("EulerDiscreteScheduler", {}),
    "UniPC": ("UniPCMultistepScheduler", {"solver_type": "bh2"}),
    "DEIS": ("DEISMultistepScheduler", {"algorithm_type": "deis", "solver_type": "logrho"}),
    "LCM": ("LCMScheduler", {}),
    "DMD": ("DDPMScheduler", {"clip_sample": False}),
    "IDDPM": ("DDPMScheduler", {"clip_sample": False, "variance_type": "learned_range"}),
}
"""What users write: ``<class>.from_config(pipe.scheduler.config, …)``."""

DRAWING = ("SA-Solver", "LCM", "IDDPM")
"""Those that draw noise between steps."""


@dataclass(frozen=True)
class Prompts:
    """Embeddings (1, L, C) of prompt and negative, each with its mask (1, L)."""

    positive: Tensor
    positive_mask: Tensor
    negative: Tensor
    negative_mask: Tensor


def scheduler_of(solver: str) -> Any:
    """Return the scheduler that a user of diffusers would swap in."""
    name, changes = SWAPPED[solver]
    # Or it would say of each which entries it has no use for.
    diffusers.utils.logging.set_verbosity_error()
    return getattr(diffusers, name).from_config({**RELEASED, **changes})


@torch.no_grad()
def reference_latent(
    transformer: PixArtTransformer2DModel,
    solver: str,
    prompts: Prompts,
    noise: Tensor,
    steps: int,
    guidance: float,
    generator: torch.Generator | None = None,
    *,
    sigma: bool = False,
) -> Tensor:
    """Return the latent that diffusers' pipeline ends with, from unit noise (1, 4, h, w).

    ``sigma``: by PixArt-Sigma's pipeline. IDDPM, which neither can run, is written out.
    """
    if solver == "IDDPM":
        return _iddpm(transformer, prompts, noise, steps, guidance, generator)
    kind = diffusers.PixArtSigmaPipeline if sigma else diffusers.PixArtAlphaPipeline
    pipeline = kind(
        tokenizer=None,
        text_encoder=None,
        vae=None,
        transformer=transformer,
        scheduler=scheduler_of(solver),
    )
    pipeline.set_progress_bar_config(disable=True)
    height, width = (8 * side for side in noise.shape[-2:])
    latent: Tensor = pipeline(
        prompt_embeds=prompts.positive,
        prompt_attention_mask=prompts.positive_mask,
        negative_prompt=None,
        negative_prompt_embeds=prompts.negative,
        negative_prompt_attention_mask=prompts.negative_mask,
        latents=noise,
        num_inference_steps=steps,
        timesteps=[400] if solver == "DMD" else None,
        guidance_scale=guidance,
        generator=generator if solver in DRAWING else None,
        height=height,
        width=width,
        use_resolution_binning=False,
        output_type="latent",
    ).images
    return latent


def _iddpm(
    transformer: PixArtTransformer2DModel,
    prompts: Prompts,
    noise: Tensor,
    steps: int,
    guidance: float,
    generator: torch.Generator | None,
) -> Tensor:
    """Run the ancestral loop: four guided channels, the variance of the prompt's own four."""
    scheduler = scheduler_of("IDDPM")
    scheduler.set_timesteps(steps)
    latent = noise
    for t in scheduler.timesteps:
        noise_of = {}
        for name in ("positive", "negative"):
            out = transformer(
                latent,
                encoder_hidden_states=getattr(prompts, name),
                encoder_attention_mask=getattr(prompts, f"{name}_mask"),
                timestep=t[None],
                added_cond_kwargs=_sizes(transformer, latent),
                return_dict=False,
            )[0]
            noise_of[name], variance = out.chunk(2, dim=1)
            if name == "positive":
                kept = variance
        guided = noise_of["negative"] + guidance * (noise_of["positive"] - noise_of["negative"])
        output = torch.cat([guided, kept], dim=1)
        latent = scheduler.step(output, t, latent, generator=generator).prev_sample
    return latent


def _sizes(transformer: PixArtTransformer2DModel, latent: Tensor) -> dict[str, Tensor | None]:
    if not transformer.use_additional_conditions:
        return {"resolution": None, "aspect_ratio": None}
    height, width = (8.0 * side for side in latent.shape[-2:])
    return {
        "resolution": torch.tensor([[height, width]]),
        "aspect_ratio": torch.tensor([[height / width]]),
    }
