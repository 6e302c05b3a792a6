"""Nodes that keep encoded prompts in files."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .host import prompt_files
from .links import with_links_checked
from .menu import CATEGORY


@with_links_checked
class PixArtSaveConditioning(io.ComfyNode):
    """Writes an encoded prompt to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtSaveConditioning",
            display_name="Save PixArt Prompt",
            category=CATEGORY,
            description="Writes an encoded prompt to the folder prompts in ComfyUI's output "
            "folder. Load PixArt Prompt gives the same picture from it without T5.",
            search_aliases=["save conditioning", "save prompt", "cache t5"],
            is_output_node=True,
            inputs=[
                io.Conditioning.Input("conditioning", tooltip="From PixArt Prompt or its batch."),
                io.String.Input(
                    "name",
                    default="prompt",
                    display_name="Name",
                    tooltip="Name of the file, to which a number is added; a/b makes a folder.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="file",
                    tooltip="Name of the file, as Load PixArt Prompt lists it.",
                )
            ],
        )

    @classmethod
    def execute(cls, conditioning: Any, name: str) -> io.NodeOutput:
        """Write the file, and say what it is called."""
        file = prompt_files.save(conditioning, name)
        return io.NodeOutput(file, ui={"text": [f"Saved as {file}"]})


@with_links_checked
class PixArtLoadConditioning(io.ComfyNode):
    """Reads an encoded prompt from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtLoadConditioning",
            display_name="Load PixArt Prompt",
            category=CATEGORY,
            description="Reads a prompt that Save PixArt Prompt wrote, from the folder prompts in "
            "ComfyUI's output folder. T5 is not needed.",
            search_aliases=["load conditioning", "load prompt", "without t5"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=prompt_files.names(),
                    display_name="File",
                    tooltip="The saved prompt.",
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="The model that will read it: whether both fit is then told here, "
                    "otherwise when the picture is made.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="CONDITIONING",
                    tooltip="The prompt as it was saved, as positive or negative of a sampler.",
                ),
                io.String.Output(
                    display_name="text",
                    tooltip="The words of the prompt; empty where they were not known when it "
                    "was saved.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **kwargs: Any) -> str:
        """Change when the file is replaced."""
        return prompt_files.fingerprint(file)

    @classmethod
    def execute(cls, file: str, model: Any = None) -> io.NodeOutput:
        """Read the file, and say what it holds."""
        loaded = prompt_files.load(file, model)
        return io.NodeOutput(loaded.conditioning, loaded.text, ui={"text": [loaded.notice]})
