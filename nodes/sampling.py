"""Nodes that sample."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pixart_core.sampling.schedule import MOST_STEPS, SOLVERS
from .host import sampler
from .menu import CATEGORY


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
            search_aliases=["pixart ksampler", "dpm-solver", "sampler"],
            inputs=[
                io.Model.Input("model", tooltip="The model, from Load PixArt Model."),
                io.Conditioning.Input("positive", tooltip="What the picture should show."),
                io.Conditioning.Input(
                    "negative", tooltip="What it should not show; an empty prompt is usual."
                ),
                io.Latent.Input(
                    "latent_image",
                    display_name="latent",
                    tooltip="An empty latent of the wanted size, or a picture to start from.",
                ),
                *_settings(),
            ],
            outputs=[io.Latent.Output(display_name="LATENT")],
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
    ) -> io.NodeOutput:
        """Sample."""
        settings = sampler.Settings(seed, steps, guidance, solver, denoise)
        return io.NodeOutput(sampler.sample(model, positive, negative, latent_image, settings))


def _settings() -> list[io.Input]:
    return [
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=2**64 - 1,
            control_after_generate=True,
            display_name="Seed",
            tooltip="The same seed with the same settings gives the same picture.",
        ),
        io.Int.Input(
            "steps",
            default=20,
            min=1,
            max=MOST_STEPS,
            display_name="Steps",
            tooltip="More steps take longer and refine the picture, beyond 30 hardly.",
        ),
        io.Float.Input(
            "guidance",
            default=4.5,
            min=0.0,
            max=100.0,
            step=0.1,
            round=0.01,
            display_name="Guidance",
            tooltip="How closely the picture follows the prompt. 4.5 is what PixArt was "
            "published with; high values burn colours. 1 or less ignores the negative "
            "prompt and takes half the time.",
        ),
        io.Combo.Input(
            "solver",
            options=list(SOLVERS),
            default=next(iter(SOLVERS)),
            display_name="Solver",
            tooltip="The method that removes the noise; DPM-Solver++ is PixArt's own.",
        ),
        io.Float.Input(
            "denoise",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.01,
            round=0.01,
            display_name="Denoise",
            tooltip="1 draws anew; less keeps more of the picture that is in the latent.",
        ),
    ]
