"""The node that chooses the picture's size."""

from __future__ import annotations

from comfy_api.latest import io

from .host import latent
from .menu import CATEGORY


class PixArtResolution(io.ComfyNode):
    """Makes an empty latent of a size that PixArt can draw."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtResolution",
            display_name="PixArt Resolution",
            category=CATEGORY,
            description="An empty latent of the chosen size. PixArt draws best at about the number "
            "of pixels it was trained with: 256, 512, 1024 or 2048 squared.",
            search_aliases=["pixart size", "empty latent", "width", "height"],
            inputs=[
                _side("width", "Width"),
                _side("height", "Height"),
                io.Int.Input(
                    "batch_size",
                    default=1,
                    min=1,
                    max=latent.MOST_IN_BATCH,
                    display_name="Batch size",
                    tooltip="How many pictures are made at once. Each takes memory.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="LATENT"),
                io.Int.Output(display_name="width"),
                io.Int.Output(display_name="height"),
            ],
        )

    @classmethod
    def validate_inputs(cls, width: int | None = None, height: int | None = None) -> bool | str:
        """Refuse sizes that cannot be cut into patches, before anything is loaded."""
        try:
            latent.check_sides(width=width, height=height)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, width: int, height: int, batch_size: int) -> io.NodeOutput:
        """Make the latent."""
        return io.NodeOutput(latent.empty_latent(width, height, batch_size), width, height)


def _side(name: str, label: str) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=1024,
        min=latent.SIDE_STEP,
        max=latent.LONGEST_SIDE,
        step=latent.SIDE_STEP,
        display_name=label,
        tooltip=f"{label} of the picture in pixels, a multiple of {latent.SIDE_STEP}.",
    )
