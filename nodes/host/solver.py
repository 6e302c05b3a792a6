"""Diffusers' solvers as a SAMPLER of the host."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import comfy.samplers
import torch
from torch import Tensor

from ...pixart_core.errors import SamplingError
from ...pixart_core.sampling.choice import misfits, solver_of
from ...pixart_core.sampling.noise import row_generators
from ...pixart_core.sampling.schedule import training_sigmas
from ...pixart_core.sampling.solve import Predicted, solve
from ...pixart_core.sampling.solvers import SOLVERS
from .model import PixArtModel, require_pixart
from .step import STEP, Step, one_prompt_only

log = logging.getLogger("pixart")


class DiffusersSampler(comfy.samplers.KSAMPLER):  # type: ignore[misc]
    """One solver; "auto" becomes the model's own when it runs.

    ``rows`` are the (seed, row) of each picture, from which it draws its noise between steps;
    without them they are the host's seed and the place in the batch.
    """

    def __init__(self, name: str, rows: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__(self._run)
        self.name = name
        self.rows = rows

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        """Sample for one of the host's guiders.

        Raises SamplingError for a model that is no PixArt, has another noise schedule or cannot
        do what the solver needs, for an empty batch, and for a result that is not finite.
        """
        model = require_model(model_wrap.inner_model)
        _check_schedule(model)
        _check_batch(noise)
        solver = solver_of(self.name, model.variant)
        if SOLVERS[solver].learned_variance:
            _check_variance(model, model_wrap)
        patched = bool(model_wrap.model_patcher.patches)
        for said in misfits(solver, model_wrap.cfg, model.variant, patched=patched):
            log.warning(said)
        found: Tensor = super().sample(
            *(model_wrap, sigmas, extra_args, callback, noise),
            *(latent_image, denoise_mask, disable_pbar),
        )
        _check_finite(found)
        if denoise_mask is None or latent_image is None or sigmas[-1] > 0:
            return found
        # Some solvers end a little above no noise; what is kept must be the original.
        return torch.where(denoise_mask == 0, latent_image, found)

    def _run(
        self,
        model: Any,
        x: Tensor,
        sigmas: Tensor,
        extra_args: dict[str, Any] | None = None,
        callback: Any = None,
        disable: bool | None = None,
    ) -> Tensor:
        arguments = extra_args or {}
        solver = solver_of(self.name, model.inner_model.inner_model.variant)
        rows = self.rows or [(arguments.get("seed") or 0, row) for row in range(len(x))]
        if SOLVERS[solver].timesteps:
            # Not what the host makes of it below the highest noise level: unit variance.
            x = model.noise * (1 + sigmas[0] ** 2) ** 0.5

        guider = model.inner_model
        learned = SOLVERS[solver].learned_variance
        prompts = _marks(guider) if learned else frozenset()

        def denoise(state: Tensor, sigma: float, timestep: float) -> Predicted:
            step = Step(x.new_tensor(timestep), prompts)
            clean = model(state, sigma * x.new_ones(len(x)), **_with_step(arguments, step))
            return Predicted(clean, step.variance)

        def on_step(step: int, clean: Tensor, state: Tensor) -> None:
            if callback is not None:
                callback({"i": step, "denoised": clean, "x": state, "sigma": sigmas[step]})

        return solve(solver, x, sigmas, denoise, on_step, row_generators(rows))


def _with_step(arguments: dict[str, Any], step: Step) -> dict[str, Any]:
    options = arguments.get("model_options", {})
    inner = {**options.get("transformer_options", {}), STEP: step}
    return {**arguments, "model_options": {**options, "transformer_options": inner}}


def _marks(guider: Any) -> frozenset[Any]:
    """Return the host's marks of a guider's prompts."""
    return frozenset(prompt["uuid"] for prompt in guider.conds.get("positive") or ())


def require_model(model: Any) -> PixArtModel:
    """Return the model that our solvers are to run; raise SamplingError if it is no PixArt."""
    failed = "PixArt's solvers cannot run this model"
    return require_pixart(model, failed, "or use KSampler for other models.")


def _check_schedule(model: PixArtModel) -> None:
    found, wanted = model.model_sampling.sigmas, training_sigmas()
    if len(found) != len(wanted) or not torch.allclose(found.cpu().double(), wanted, rtol=1e-3):
        raise SamplingError(
            "PixArt's solvers cannot follow this model's noise schedule",
            found="one that a node before it has changed",
            expected="the one that PixArt was trained with",
            advice="Remove the ModelSampling node, or sample with KSampler.",
        )


def _check_batch(noise: Tensor) -> None:
    if not len(noise):
        raise SamplingError(
            "There is nothing to draw",
            found="a latent without pictures",
            expected="one picture or more",
            advice="Set the batch size of the node that makes the latent to 1 or more.",
        )


def _check_variance(model: PixArtModel, guider: Any) -> None:
    network = model.diffusion_model.config
    if network.out_channels != 2 * network.in_channels:
        raise SamplingError(
            "IDDPM cannot run this model",
            found="a model that predicts the noise alone",
            expected="one that predicts its variance, too",
            advice="Choose another solver.",
        )
    prompts = guider.conds.get("positive") or []
    if any("area" in prompt or "mask" in prompt for prompt in prompts):
        raise one_prompt_only("a prompt for a part of the picture")
    if sum("timestep_start" not in prompt for prompt in prompts) > 1:
        raise one_prompt_only(f"{len(prompts)} prompts")


def _check_finite(samples: Tensor) -> None:
    if not torch.isfinite(samples).all():
        raise SamplingError(
            "The picture came out empty",
            found="a latent with values that are not finite (NaN or infinity)",
            expected="finite numbers",
            advice="Set Weight precision of Load PixArt Model to fp32 or bf16, and check that "
            "the prompts come from a T5 in bf16 or fp32.",
        )
