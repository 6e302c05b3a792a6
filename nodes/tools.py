"""Nodes that look at things."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pixart_core.checkpoint.opening import open_model
from ..pixart_core.checkpoint.report import report_on
from .host import files, hed
from .links import with_links_checked
from .menu import CATEGORY


@with_links_checked
class PixArtModelInfo(io.ComfyNode):
    """Says what a model file is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtModelInfo",
            display_name="Inspect PixArt File",
            category=CATEGORY,
            description="Says what a PixArt file is, for which sizes it was trained, which VAE "
            "belongs to it, and whether it is whole; without loading it.",
            search_aliases=["pixart info", "model info", "checkpoint info"],
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files.MODELS.names(),
                    display_name="File",
                    tooltip="The model, from the folders diffusion_models and checkpoints.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="text", tooltip="What was found in the file, a fact a line."
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **kwargs: Any) -> str:
        """Change when the file is replaced."""
        return files.MODELS.fingerprint(file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Report on the file."""
        text = report_on(open_model(files.MODELS.find(file))).as_text()
        return io.NodeOutput(text, ui={"text": [text]})


@with_links_checked
class PixArtHED(io.ComfyNode):
    """Finds the edges of a picture as PixArt's ControlNets were trained on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtHED",
            display_name="PixArt HED Edges",
            category=CATEGORY,
            description="Soft edges, bright on black, for a PixArt ControlNet. Needs "
            "ControlNetHED.pth. ComfyUI's Canny may take its place; its edges are harder.",
            search_aliases=["hed", "edges", "softedge", "controlnet preprocessor"],
            inputs=[
                io.Image.Input("image", tooltip="The picture whose edges are wanted."),
                io.Combo.Input(
                    "file",
                    options=files.ANNOTATORS.names(),
                    display_name="File",
                    tooltip="ControlNetHED.pth, from the folder controlnet.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="IMAGE",
                    tooltip="The edges, as large as the picture, for image of Apply ControlNet.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **_: Any) -> str:
        """Change when the file is replaced."""
        return files.ANNOTATORS.fingerprint(file)

    @classmethod
    def execute(cls, image: Any, file: str) -> io.NodeOutput:
        """Find the edges."""
        return io.NodeOutput(hed.hed_edges(image, files.ANNOTATORS.find(file)))
