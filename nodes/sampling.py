"""Nodes that sample."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pixart_core.sampling.solvers import AUTO, MOST_STEPS, SOLVERS
from .host import sampler
from .host.solver import DiffusersSampler
from .links import with_links_checked
from .menu import CATEGORY

_MODEL = "The model, from Load PixArt Model."
_AUTO_WHOLE = (
    "The method that removes the noise. auto is the one the model was made for: DPM-Solver++, or "
    "for a distilled model LCM or DMD with its own steps and guidance, whatever is set here."
)
_AUTO_ALONE = (
    "The method that removes the noise. auto is the one the model was made for: DPM-Solver++, or "
    "for a distilled model LCM or DMD. Guidance stays what the guider says; those two want 1."
)
_AUTO_STEPS = (
    "The solver that these noise levels are for, the same as in PixArt Solver. auto is the one "
    "the model was made for, for a distilled model with its own steps, whatever Steps says."
)


@with_links_checked
class PixArtSampler(io.ComfyNode):
    """Denoises a latent with the solvers that PixArt was published with."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtSampler",
            display_name="PixArt Sampler",
            category=CATEGORY,
            description="Draws the picture, with the same numbers as PixArt's reference pipeline.",
            search_aliases=["pixart ksampler", "dpm-solver", "sampler", "lcm", "dmd"],
            inputs=[
                io.Model.Input("model", tooltip=_MODEL),
                io.Conditioning.Input("positive", tooltip="What the picture should show."),
                io.Conditioning.Input(
                    "negative", tooltip="What it should not show; an empty prompt is usual."
                ),
                io.Latent.Input(
                    "latent_image",
                    tooltip="An empty latent of the wanted size, or a picture to start from.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=True,
                    display_name="Seed",
                    tooltip="The same seed with the same settings gives the same picture.",
                ),
                _steps(),
                io.Float.Input(
                    "guidance",
                    default=4.5,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    display_name="Guidance",
                    tooltip="How closely the picture follows the prompt. 4.5 is what PixArt was "
                    "published with; high values burn colours. 1 or less is none: the negative "
                    "prompt is ignored, and a step takes half the time.",
                ),
                _solver(_AUTO_WHOLE),
                _denoise(),
                io.String.Input(
                    "seeds",
                    optional=True,
                    default="",
                    display_name="Seeds",
                    tooltip="One seed for each picture of the batch, with commas between: each "
                    "picture is the one that its seed gives alone. Empty uses Seed for all.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="LATENT",
                    tooltip="The drawn picture, for VAE Decode with the VAE of the model: SDXL's "
                    "for Sigma, SD 1.5's for alpha.",
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        seed: int,
        steps: int,
        guidance: float,
        solver: str,
        denoise: float,
        seeds: str = "",
    ) -> io.NodeOutput:
        """Sample, and say what does not suit the model."""
        settings = sampler.Settings(seed, steps, guidance, solver, denoise, seeds)
        out, notices = sampler.sample(model, positive, negative, latent_image, settings)
        return io.NodeOutput(out, ui={"text": list(notices)})


@with_links_checked
class PixArtSolver(io.ComfyNode):
    """A solver for the host's own sampler nodes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtSolver",
            display_name="PixArt Solver",
            category=CATEGORY,
            description="A solver of PixArt's reference pipeline for SamplerCustom and "
            "SamplerCustomAdvanced. Connect PixArt Schedule with the same solver as sigmas.",
            search_aliases=["pixart sampler select", "ksamplerselect"],
            inputs=[_solver(_AUTO_ALONE)],
            outputs=[
                io.Sampler.Output(
                    display_name="SAMPLER",
                    tooltip="The solver, for sampler of SamplerCustom or SamplerCustomAdvanced.",
                )
            ],
        )

    @classmethod
    def execute(cls, solver: str) -> io.NodeOutput:
        """Make the solver."""
        return io.NodeOutput(DiffusersSampler(solver))


@with_links_checked
class PixArtSchedule(io.ComfyNode):
    """The noise levels of a solver."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtSchedule",
            display_name="PixArt Schedule",
            category=CATEGORY,
            description="The sigmas at which a solver of PixArt's reference pipeline looks at the "
            "picture, all of them or some.",
            search_aliases=["pixart sigmas", "basicscheduler"],
            inputs=[
                io.Model.Input("model", tooltip=_MODEL),
                _solver(_AUTO_STEPS),
                _steps(),
                _denoise(),
                io.Int.Input(
                    "start_step",
                    default=0,
                    min=0,
                    max=MOST_STEPS,
                    display_name="Start step",
                    tooltip="How many steps to leave out at the start, because another sampler "
                    "took them.",
                ),
                io.Int.Input(
                    "end_step",
                    default=10000,
                    min=1,
                    max=10000,
                    display_name="End step",
                    tooltip="The step to end before. Anything beyond the last is the end, and the "
                    "picture is finished.",
                ),
            ],
            outputs=[
                io.Sigmas.Output(
                    display_name="SIGMAS",
                    tooltip="The noise levels from high to low, for sigmas of SamplerCustom or "
                    "SamplerCustomAdvanced.",
                )
            ],
        )

    @classmethod
    def execute(
        cls, model: Any, solver: str, steps: int, denoise: float, start_step: int, end_step: int
    ) -> io.NodeOutput:
        """Make the schedule."""
        sigmas, notices = sampler.schedule(model, solver, steps, denoise, start_step, end_step)
        return io.NodeOutput(sigmas, ui={"text": list(notices)})


def _solver(tooltip: str) -> io.Input:
    return io.Combo.Input(
        "solver", options=[AUTO, *SOLVERS], default=AUTO, display_name="Solver", tooltip=tooltip
    )


def _steps() -> io.Input:
    return io.Int.Input(
        "steps",
        default=20,
        min=1,
        max=MOST_STEPS,
        display_name="Steps",
        tooltip="More steps take longer and refine the picture. How many do each solver justice: "
        + ", ".join(f"{name} {entry.steps}" for name, entry in SOLVERS.items()),
    )


def _denoise() -> io.Input:
    return io.Float.Input(
        "denoise",
        default=1.0,
        min=0.0,
        max=1.0,
        step=0.01,
        round=0.01,
        display_name="Denoise",
        tooltip="1 draws anew; less keeps more of the picture that is in the latent.",
    )
