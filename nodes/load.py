"""Nodes that load models from files."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .host import files, model, text_encoder
from .menu import CATEGORY


class PixArtModelLoader(io.ComfyNode):
    """Loads a PixArt transformer."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtModelLoader",
            display_name="Load PixArt Model",
            category=CATEGORY,
            description="Loads a PixArt alpha or Sigma model and sets it up as it was trained.",
            search_aliases=["pixart", "pixart alpha", "pixart sigma", "load dit"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files.model_names(),
                    display_name="File",
                    tooltip="The model file, from the folders diffusion_models and checkpoints.",
                ),
                io.Combo.Input(
                    "variant",
                    options=model.VARIANT_CHOICES,
                    default=model.VARIANT_CHOICES[0],
                    display_name="Variant",
                    tooltip="Which PixArt the file is. Auto reads it from the file, and says in "
                    "the log when it had to guess. A wrong one makes bad pictures, not an error.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=list(model.WEIGHT_DTYPES),
                    default="auto",
                    display_name="Weight precision",
                    tooltip="How weights are kept in memory. Auto leaves it to ComfyUI, which "
                    "knows the graphics card. fp32 is the most exact and takes twice the memory.",
                ),
            ],
            outputs=[io.Model.Output(display_name="MODEL")],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **kwargs: Any) -> str:
        """Change when the file is replaced."""
        return files.fingerprint(files.MODEL_FOLDERS, file)

    @classmethod
    def execute(cls, file: str, variant: str, weight_dtype: str) -> io.NodeOutput:
        """Load the model."""
        path = files.find(files.MODEL_FOLDERS, file)
        return io.NodeOutput(model.load_model(path, variant, weight_dtype))


class PixArtT5Loader(io.ComfyNode):
    """Loads a T5 text encoder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtT5Loader",
            display_name="Load T5 for PixArt",
            category=CATEGORY,
            description="Loads the T5 text encoder that reads the prompts of PixArt models.",
            search_aliases=["t5", "t5xxl", "text encoder", "pixart clip"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files.text_encoder_names(),
                    display_name="File",
                    tooltip="The T5 file, from the folder text_encoders, for example "
                    "t5xxl_fp16.safetensors.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(text_encoder.PRECISIONS),
                    default="auto",
                    display_name="Precision",
                    tooltip="How weights are kept in memory: fp32 takes twice as much as bf16 and "
                    "fp16. Auto keeps them as they are in the file. The arithmetic is fp32 always.",
                ),
                io.Combo.Input(
                    "device",
                    options=list(text_encoder.DEVICES),
                    default="auto",
                    display_name="Device",
                    tooltip="Where T5 runs. Auto uses the graphics card and makes room for it; cpu "
                    "is slow but leaves the card to the picture.",
                ),
            ],
            outputs=[io.Clip.Output(display_name="CLIP")],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **kwargs: Any) -> str:
        """Change when the file is replaced."""
        return files.fingerprint(files.TEXT_ENCODER_FOLDERS, file)

    @classmethod
    def execute(cls, file: str, precision: str, device: str) -> io.NodeOutput:
        """Load the text encoder."""
        path = files.find(files.TEXT_ENCODER_FOLDERS, file)
        return io.NodeOutput(text_encoder.load_text_encoder(path, precision, device))
