"""Nodes that turn prompts into conditioning."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .host import conditioning
from .menu import CATEGORY


class PixArtTextEncode(io.ComfyNode):
    """Encodes a prompt with T5."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtTextEncode",
            display_name="PixArt Prompt",
            category=CATEGORY,
            description="Encodes a prompt as PixArt was trained to read it, and cuts it at the "
            "model's limit (120 tokens for alpha, 300 for Sigma).",
            search_aliases=["pixart text encode", "t5 text encode", "pixart prompt"],
            inputs=[
                io.Clip.Input("clip", tooltip="T5, from Load T5 for PixArt."),
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    default="",
                    display_name="Prompt",
                    tooltip="What the picture shows. (word:1.2) gives a word more weight.",
                ),
                io.Combo.Input(
                    "cleaning",
                    options=conditioning.CLEANING_CHOICES,
                    default=conditioning.CLEANING_CHOICES[0],
                    display_name="Cleaning",
                    tooltip="Auto does what the model was trained with: lower case for alpha, the "
                    "text as it is for Sigma. Connect the model so that auto knows it.",
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="The model that will read the prompt: it decides the token limit and "
                    "the cleaning. Without it the limit is 300 and the text is lower-cased.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="CONDITIONING"),
                io.String.Output(display_name="encoded text"),
            ],
        )

    @classmethod
    def execute(cls, clip: Any, text: str, cleaning: str, model: Any = None) -> io.NodeOutput:
        """Encode the prompt and say what of it was cut."""
        prompt = conditioning.encode_prompt(clip, text, cleaning, model)
        return io.NodeOutput(prompt.conditioning, prompt.text, ui={"text": [prompt.notice]})
