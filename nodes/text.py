"""Nodes that turn prompts into conditioning."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .host import conditioning, null_caption, style_table
from .links import with_links_checked
from .menu import CATEGORY


def _cleaning_input() -> io.Input:
    return io.Combo.Input(
        "cleaning",
        options=conditioning.CLEANING_CHOICES,
        default=conditioning.CLEANING_CHOICES[0],
        display_name="Cleaning",
        tooltip="What is done to the letters. Auto does what the model was trained with, if it is "
        "connected: reference for alpha, which lower-cases and takes out links, marks and file "
        "names; off for Sigma. Without a model it lower-cases.",
    )


def _model_input() -> io.Input:
    return io.Model.Input(
        "model",
        optional=True,
        tooltip="The model that will read the prompt: it decides the token limit (120 for alpha, "
        "300 for Sigma) and the cleaning. Without it the limit is 300.",
    )


@with_links_checked
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
                io.Clip.Input("clip", tooltip="T5, from Load T5 for PixArt or another loader."),
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    default="",
                    display_name="Prompt",
                    tooltip="What the picture shows. (word:1.2) gives a word more weight.",
                ),
                _cleaning_input(),
                _model_input(),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="CONDITIONING",
                    tooltip="The encoded prompt, as positive or negative of a sampler.",
                ),
                io.String.Output(
                    display_name="encoded text",
                    tooltip="The prompt after cleaning, as it was given to T5. What was cut at the "
                    "limit is still in it.",
                ),
            ],
        )

    @classmethod
    def execute(cls, clip: Any, text: str, cleaning: str, model: Any = None) -> io.NodeOutput:
        """Encode the prompt and say what of it was cut."""
        prompt = conditioning.encode_prompts(clip, [text], cleaning, model)
        return io.NodeOutput(prompt.conditioning, prompt.text, ui={"text": [prompt.notice]})


@with_links_checked
class PixArtPromptBatch(io.ComfyNode):
    """Encodes several prompts for the pictures of one batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtPromptBatch",
            display_name="PixArt Prompt Batch",
            category=CATEGORY,
            description="Encodes several prompts into one conditioning: the first picture of the "
            "batch shows the first, the second the second. Give the count to PixArt Resolution.",
            search_aliases=["pixart prompts", "prompt list", "batch prompts"],
            is_input_list=True,
            inputs=[
                io.Clip.Input("clip", tooltip="T5, from Load T5 for PixArt or another loader."),
                io.String.Input(
                    "texts",
                    multiline=True,
                    default="",
                    display_name="Prompts",
                    tooltip="One prompt a line; empty lines do not count. A list from another node "
                    "works too: its lines follow each other.",
                ),
                _cleaning_input(),
                _model_input(),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="CONDITIONING",
                    tooltip="The encoded prompts, one for each picture of the batch.",
                ),
                io.Int.Output(
                    display_name="count",
                    tooltip="How many prompts there are. Connect it to Batch size of PixArt "
                    "Resolution, so that each gets its picture.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, clip: list[Any], texts: list[str], cleaning: list[str], model: Any = None
    ) -> io.NodeOutput:
        """Encode the prompts, and say for each what of it was cut."""
        prompts = [line for text in texts for line in text.splitlines() if line.strip()]
        encoded = conditioning.encode_prompts(
            clip[0], prompts, cleaning[0], model[0] if model else None
        )
        return io.NodeOutput(encoded.conditioning, encoded.count, ui={"text": [encoded.notice]})


@with_links_checked
class PixArtStyle(io.ComfyNode):
    """Puts a style's words around a prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtStyle",
            display_name="PixArt Style",
            category=CATEGORY,
            description="Puts the words of a style around the prompt: those of PixArt's demo "
            "pages, or your own from styles.csv in ComfyUI's user folder.",
            search_aliases=["pixart styles", "style", "styles.csv"],
            inputs=[
                io.String.Input(
                    "prompt",
                    multiline=True,
                    dynamic_prompts=True,
                    default="",
                    display_name="Prompt",
                    tooltip="What the picture shows.",
                ),
                io.String.Input(
                    "negative",
                    multiline=True,
                    default="",
                    display_name="Negative",
                    tooltip="What it should not show; the style adds words of its own. Those of "
                    "PixArt's styles go right before it: begin with a comma, as they add none.",
                ),
                io.Combo.Input(
                    "style",
                    options=list(style_table.styles().styles),
                    display_name="Style",
                    tooltip="Those of PixArt's demo pages, then those of styles.csv (columns "
                    "name, prompt, negative_prompt; prompt in curly braces stands for yours).",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="prompt",
                    tooltip="Your prompt with the words of the style, for PixArt Prompt.",
                ),
                io.String.Output(
                    display_name="negative",
                    tooltip="What the picture should not show: yours with the words of the style, "
                    "for another PixArt Prompt.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **kwargs: Any) -> str:
        """Change when the table is edited."""
        return style_table.fingerprint()

    @classmethod
    def execute(cls, prompt: str, negative: str, style: str) -> io.NodeOutput:
        """Apply the style, and name the rows of the table that cannot be used."""
        styled = style_table.apply(style, prompt, negative)
        return io.NodeOutput(
            styled.prompt, styled.negative, ui={"text": [styled.prompt, *styled.complaints]}
        )


@with_links_checked
class PixArtNullConditioning(io.ComfyNode):
    """Gives the caption that a model learned for no caption."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtNullConditioning",
            display_name="PixArt Null Caption",
            category=CATEGORY,
            description="The caption that the model saw in training where there was none. In the "
            "place of the negative it gives the pictures of PixArt alpha's own scripts.",
            search_aliases=["pixart unconditional", "null caption", "y_embedding"],
            inputs=[
                io.Model.Input("model", tooltip="A PixArt model whose file has a null caption."),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="The prompt: the model then looks at as many tokens of the null "
                    "caption as its first entry has, as the scripts do. Without it, at all.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="CONDITIONING",
                    tooltip="The null caption, as negative of a sampler with the same model.",
                )
            ],
        )

    @classmethod
    def execute(cls, model: Any, positive: Any = None) -> io.NodeOutput:
        """Take the null caption out of the model."""
        return io.NodeOutput(null_caption.null_conditioning(model, positive))
