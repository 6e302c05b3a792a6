"""Nodes that load models from files."""

from __future__ import annotations

from typing import Any, Literal

from comfy_api.latest import io

from ..pixart_core.network.config import KVCompression, KVMode
from .host import files, loading, text_encoder
from .links import with_links_checked
from .menu import CATEGORY

_FROM_FILE: Literal["from the file"] = "from the file"
_MOST_BLOCKS = 100


@with_links_checked
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
                    options=files.MODELS.names(),
                    display_name="File",
                    tooltip="The model, from the folders diffusion_models and checkpoints: a file, "
                    "or a folder as diffusers keeps it.",
                ),
                io.Combo.Input(
                    "variant",
                    options=loading.VARIANT_CHOICES,
                    default=loading.VARIANT_CHOICES[0],
                    display_name="Variant",
                    tooltip="Which PixArt the file is. Auto reads it from the file, and says under "
                    "the node when it had to guess. One that the tensors rule out is an error; a "
                    "wrong one that they allow makes bad pictures.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=list(loading.WEIGHT_DTYPES),
                    default="auto",
                    display_name="Weight precision",
                    tooltip="How weights are kept in memory. Auto leaves it to ComfyUI, which "
                    "knows the graphics card. fp32 is the most exact and takes twice the memory; "
                    "fp8 halves it once more and coarsens the picture.",
                ),
                io.Combo.Input(
                    "kv_compression",
                    options=[_FROM_FILE, "ave", "uniform", "uniform_every"],
                    default=_FROM_FILE,
                    optional=True,
                    advanced=True,
                    display_name="KV compression",
                    tooltip="For models trained with compressed keys and values in a way that "
                    "leaves no trace in the file. Leave it alone for all released models.",
                ),
                io.Int.Input(
                    "kv_factor",
                    default=2,
                    min=2,
                    max=8,
                    optional=True,
                    advanced=True,
                    display_name="KV factor",
                    tooltip="By how much keys and values are compressed, as in the training "
                    "configuration. It counts only with a KV compression.",
                ),
                io.Int.Input(
                    "kv_first_block",
                    default=14,
                    min=0,
                    max=_MOST_BLOCKS - 1,
                    optional=True,
                    advanced=True,
                    display_name="First KV block",
                    tooltip="The first block that compresses, as in the training configuration; "
                    "all behind it do too. It counts only with a KV compression.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="MODEL",
                    tooltip="The model, for PixArt Sampler or any other. Connect it to PixArt "
                    "Prompt and PixArt Resolution too: they ask it what it was trained with.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **kwargs: Any) -> str:
        """Change when the file is replaced."""
        return files.MODELS.fingerprint(file)

    @classmethod
    def execute(
        cls,
        file: str,
        variant: str,
        weight_dtype: str,
        kv_compression: KVMode | Literal["from the file"] = _FROM_FILE,
        kv_factor: int = 2,
        kv_first_block: int = 14,
    ) -> io.NodeOutput:
        """Load the model, and say under the node what it is."""
        compression = None
        if kv_compression != _FROM_FILE:
            blocks = tuple(range(kv_first_block, _MOST_BLOCKS))
            compression = KVCompression(kv_compression, kv_factor, blocks)
        path = files.MODELS.find(file)
        loaded = loading.load_model(path, variant, weight_dtype, compression)
        return io.NodeOutput(loaded.patcher, ui={"text": [loaded.text]})


@with_links_checked
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
                    options=files.TEXT_ENCODERS.names(),
                    display_name="File",
                    tooltip="T5, from the folders text_encoders, clip and t5: a file such as "
                    "t5xxl_fp16.safetensors, or a folder as transformers keeps it.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(text_encoder.PRECISIONS),
                    default="auto",
                    display_name="Precision",
                    tooltip="How weights are kept in memory. Auto: as in the file. For T5-XXL fp32 "
                    "takes 19 GB, bf16 and fp16 9.5 GB, int8 and fp8 about 5 GB (int8 is the more "
                    "exact). 8-bit and 4-bit need the package bitsandbytes, keep a part in bf16, "
                    "and cannot be split between graphics card and memory, as all others can.",
                ),
                io.Combo.Input(
                    "device",
                    options=text_encoder.devices(),
                    default="auto",
                    display_name="Device",
                    tooltip="Where T5 runs. Auto uses the graphics card and makes room for it; cpu "
                    "is slow but leaves the card to the picture.",
                ),
            ],
            outputs=[
                io.Clip.Output(
                    display_name="CLIP",
                    tooltip="T5, for PixArt Prompt and PixArt Prompt Batch. ComfyUI's CLIP Text "
                    "Encode takes it too, but does not clean the prompt or tell what was cut.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **kwargs: Any) -> str:
        """Change when the file is replaced."""
        return files.TEXT_ENCODERS.fingerprint(file)

    @classmethod
    def execute(cls, file: str, precision: str, device: str) -> io.NodeOutput:
        """Load the text encoder."""
        path = files.TEXT_ENCODERS.find(file)
        return io.NodeOutput(text_encoder.load_text_encoder(path, precision, device))
