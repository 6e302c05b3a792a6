"""Nodes that choose the picture's size."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pixart_core.resolution import ASPECTS, EXACT, SIZINGS, Wish
from .host import latent
from .links import with_links_checked
from .menu import CATEGORY


@with_links_checked
class PixArtResolution(io.ComfyNode):
    """Makes an empty latent of a size that PixArt can draw."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtResolution",
            display_name="PixArt Resolution",
            category=CATEGORY,
            description="An empty latent of the chosen size. PixArt draws best at the sizes it was "
            "trained with: 40 for each of 256, 512, 1024 and 2K.",
            search_aliases=["pixart size", "empty latent", "width", "height", "aspect ratio"],
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
                *_choices(),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="The model that will draw: it decides the table of trained sizes.",
                ),
                io.Image.Input(
                    "image", optional=True, tooltip="The picture to be like, for Sizing of that."
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="LATENT",
                    tooltip="The empty latent, for the sampler: one for each picture of the batch.",
                ),
                io.Int.Output(display_name="width", tooltip="Width of the chosen size in pixels."),
                io.Int.Output(
                    display_name="height", tooltip="Height of the chosen size in pixels."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, width: int | None = None, height: int | None = None, sizing: str | None = EXACT
    ) -> bool | str:
        """Refuse sizes that cannot be drawn, before anything is loaded."""
        if sizing is None:  # linked, so not known yet
            return True
        try:
            latent.check_wish(sizing, width, height)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        width: int,
        height: int,
        batch_size: int,
        sizing: str = EXACT,
        aspect: str = ASPECTS[0],
        swap: bool = False,
        table: str = "auto",
        ratios: str = "33 tested",
        model: Any = None,
        image: Any = None,
    ) -> io.NodeOutput:
        """Make the latent, and say which size it has."""
        wish = Wish(sizing, aspect, width, height, tested=latent.RATIOS[ratios], swap=swap)
        size = latent.size_of(wish, table, model, image)
        made = latent.empty_latent(size.width, size.height, batch_size)
        return io.NodeOutput(made, size.width, size.height, ui={"text": [size.notice]})


@with_links_checked
class PixArtResolutionConditioning(io.ComfyNode):
    """Tells the model another picture size than the latent's."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtResolutionConditioning",
            display_name="PixArt Size Condition",
            category=CATEGORY,
            description="PixArt-alpha 1024 is told the size of the picture it draws. That is the "
            "latent's, unless this node says another. Other models pay no heed.",
            search_aliases=["pixart size condition", "micro conditions", "resolution"],
            inputs=[
                io.Conditioning.Input("conditioning", tooltip="The prompt; it is not changed."),
                _condition_side("width", "Width"),
                _condition_side("height", "Height"),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="CONDITIONING",
                    tooltip="The prompt with the size beside it. Give the negative the same size.",
                )
            ],
        )

    @classmethod
    def execute(cls, conditioning: Any, width: int, height: int) -> io.NodeOutput:
        """Copy the prompt with the size beside it."""
        return io.NodeOutput(latent.with_size(conditioning, width, height))


def _side(name: str, label: str) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=1024,
        min=latent.SIDE_STEP,
        max=latent.LONGEST_SIDE,
        step=latent.SIDE_STEP,
        display_name=label,
        tooltip=f"{label} of the picture in pixels, for the Sizing that asks for it.",
    )


def _condition_side(name: str, label: str) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=1024,
        min=latent.SIDE_STEP,
        max=latent.LONGEST_SIDE,
        display_name=label,
        tooltip=f"The {name} in pixels that the model is told.",
    )


def _choices() -> list[io.Input]:
    return [
        io.Combo.Input(
            "sizing",
            options=list(SIZINGS),
            default=EXACT,
            optional=True,
            display_name="Sizing",
            tooltip="aspect ratio: the trained size chosen below. nearest trained size: the one "
            "that is nearest in shape to Width and Height. exact size: Width and Height as they "
            "are, multiples of 16; far from the trained sizes pictures fall apart. like the image: "
            "the trained size nearest in shape to the connected picture.",
        ),
        io.Combo.Input(
            "aspect",
            options=list(ASPECTS),
            default=ASPECTS[0],
            optional=True,
            display_name="Aspect",
            tooltip="Width to height, and the size at 1024. With another table it is that much "
            "smaller or larger. The few rarely used ones were trained, but PixArt's own apps do "
            "not offer them.",
        ),
        io.Boolean.Input(
            "swap",
            default=False,
            optional=True,
            display_name="Swap",
            tooltip="Width and height change places.",
        ),
        io.Combo.Input(
            "table",
            options=list(latent.TABLES),
            default="auto",
            optional=True,
            display_name="Table",
            tooltip="For which models the trained sizes are. auto is the connected model's; "
            "without one it is 1024 for an aspect, else the one of nearest size.",
        ),
        io.Combo.Input(
            "ratios",
            options=list(latent.RATIOS),
            default="33 tested",
            optional=True,
            display_name="Ratios",
            tooltip="Among how many shapes the nearest is looked for: the 33 that PixArt's own "
            "apps offer, or all 40 that it was trained with.",
        ),
    ]
