"""Nodes that put what was trained beside a model onto it."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .host import control, files, lora
from .links import with_links_checked
from .menu import CATEGORY


@with_links_checked
class PixArtLora(io.ComfyNode):
    """Puts a LoRA onto a model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtLora",
            display_name="PixArt LoRA",
            category=CATEGORY,
            description="LoRA, DoRA, LoHa, LoKr and OFT of every trainer, as files or as folders "
            "with adapter_config.json. Says what it found and what it could not place.",
            search_aliases=["lora loader", "dora", "lycoris", "peft", "lcm lora"],
            inputs=[
                io.Model.Input("model", tooltip="The model, from Load PixArt Model."),
                io.Combo.Input(
                    "file",
                    options=files.LORAS.names(),
                    display_name="File",
                    tooltip="The LoRA, from the folder loras: a file, or a folder as PEFT and "
                    "DiffEngine write it.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-20.0,
                    max=20.0,
                    step=0.05,
                    display_name="Strength",
                    tooltip="How much of it. 0 is none, less than 0 the opposite.",
                ),
                io.Float.Input(
                    "alpha",
                    default=0.0,
                    min=0.0,
                    max=4096.0,
                    step=1.0,
                    optional=True,
                    advanced=True,
                    display_name="Alpha",
                    tooltip="The alpha it was trained with, where the file does not say; its "
                    "strength is alpha / rank. 0 takes the file's, or else 8, as PixArt's own "
                    "scripts did.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="MODEL",
                    tooltip="The model with the LoRA on it; the one that came in is not changed.",
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="What the file holds, its rank and alpha, and what found no place in "
                    "the model.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **_: Any) -> str:
        """Load anew when the file was replaced."""
        return files.LORAS.fingerprint(file)

    @classmethod
    def execute(cls, model: Any, file: str, strength: float, alpha: float = 0.0) -> io.NodeOutput:
        """Put the LoRA onto a copy of the model."""
        patched, report = lora.apply_lora(model, files.LORAS.find(file), strength, alpha)
        return io.NodeOutput(patched, report, ui={"text": report.splitlines()})


@with_links_checked
class PixArtControlNetLoader(io.ComfyNode):
    """Loads a PixArt ControlNet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="PixArtControlNetLoader",
            display_name="Load PixArt ControlNet",
            category=CATEGORY,
            description="A ControlNet of PixArt-delta for ComfyUI's own apply node, which needs "
            "the VAE connected. The released ones were trained on HED edges, bright on black.",
            search_aliases=["controlnet", "pixart delta", "hed"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files.CONTROLNETS.names(),
                    display_name="File",
                    tooltip="The ControlNet, from the folder controlnet: PixArt's own file (the "
                    "model inside it is not used), an extracted one, or diffusers'.",
                ),
            ],
            outputs=[
                io.ControlNet.Output(
                    display_name="CONTROL_NET",
                    tooltip="The ControlNet, for Apply ControlNet. It fits the model that it was "
                    "trained for, and each step takes longer with it.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None) -> str:
        """Load anew when the file was replaced."""
        return files.CONTROLNETS.fingerprint(file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Load the ControlNet."""
        return io.NodeOutput(control.load_control(files.CONTROLNETS.find(file)))
