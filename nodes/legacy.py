"""What nodes of ComfyUI_ExtraModels become in workflows that were made with them.

Each keeps the old names and values of its inputs, because ComfyUI can only hand them over.
"""

from __future__ import annotations

from typing import Any

from comfy_api.latest import ComfyAPI, io

from ..pixart_core.checkpoint.detect import AUTO
from ..pixart_core.legacy import (
    OLD_DEVICES,
    OLD_MODELS,
    OLD_PRECISIONS,
    OLD_RATIOS,
    OLD_TABLES,
    old_size,
)
from ..pixart_core.text.cleaning import LOWERCASE
from .host import conditioning, files, latent, legacy, lora, text_encoder
from .host.prompt_text import text_of
from .links import with_links_checked
from .menu import CATEGORY

_LONGEST_PADDING = 300
_LONGEST_SIDE = 8192


def _schema(
    node_id: str, name: str, successor: str, inputs: list[io.Input], outputs: list[io.Output]
) -> io.Schema:
    return io.Schema(
        node_id=node_id,
        display_name=f"{name} (old)",
        category=f"{CATEGORY}/old",
        description=f"For old workflows; in new ones use {successor}.",
        inputs=inputs,
        outputs=outputs,
        is_deprecated=True,
    )


def _checkpoint() -> io.Input:
    return io.Combo.Input(
        "ckpt_name", options=files.MODELS.names(), tooltip="The model, from checkpoints."
    )


def _prompt_inputs() -> list[io.Input]:
    return [
        io.String.Input("text", multiline=True, tooltip="What the picture shows."),
        io.Clip.Input("T5", tooltip="T5, from its loader."),
    ]


@with_links_checked
class PixArtLegacyCheckpointLoader(io.ComfyNode):
    """Was PixArtCheckpointLoader."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        kinds = io.Combo.Input(
            "model",
            options=[AUTO, *OLD_MODELS],
            default=AUTO,
            tooltip="What the file is, where it does not tell by itself.",
        )
        return _schema(
            cls.__name__,
            "PixArt Checkpoint Loader",
            "Load PixArt Model",
            [_checkpoint(), kinds],
            [io.Model.Output(display_name="model")],
        )

    @classmethod
    def fingerprint_inputs(cls, ckpt_name: str | None = None, **_: Any) -> str:
        """Change when the file is replaced."""
        return files.MODELS.fingerprint(ckpt_name)

    @classmethod
    def execute(cls, ckpt_name: str, model: str = AUTO) -> io.NodeOutput:
        """Load the model."""
        loaded = legacy.load_old_model(files.MODELS.find(ckpt_name), model)
        return io.NodeOutput(loaded.patcher, ui={"text": [loaded.text]})


class PixArtLegacyCheckpointLoaderSimple(PixArtLegacyCheckpointLoader):
    """Was PixArtCheckpointLoaderSimple."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return _schema(
            cls.__name__,
            "PixArt Checkpoint Loader (auto)",
            "Load PixArt Model",
            [_checkpoint()],
            [io.Model.Output(display_name="model")],
        )


@with_links_checked
class PixArtLegacyResolutionSelect(io.ComfyNode):
    """Was PixArtResolutionSelect."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        table = io.Combo.Input(
            "model", options=list(OLD_TABLES), tooltip="Whose table of trained sizes."
        )
        ratio = io.Combo.Input(
            "ratio", options=list(OLD_RATIOS), default="1.00", tooltip="Width to height."
        )
        return _schema(
            cls.__name__,
            "PixArt Resolution Select",
            "PixArt Resolution",
            [table, ratio],
            [io.Int.Output(display_name="width"), io.Int.Output(display_name="height")],
        )

    @classmethod
    def execute(cls, model: str, ratio: str) -> io.NodeOutput:
        """Look the size up."""
        return io.NodeOutput(*old_size(model, ratio))


@with_links_checked
class PixArtLegacyResolutionCond(io.ComfyNode):
    """Was PixArtResolutionCond."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        sides = [
            io.Int.Input(
                name,
                default=1024,
                min=0,
                max=_LONGEST_SIDE,
                tooltip=f"The {name} in pixels that the model is told.",
            )
            for name in ("width", "height")
        ]
        return _schema(
            cls.__name__,
            "PixArt Resolution Conditioning",
            "PixArt Size Condition",
            [io.Conditioning.Input("cond", tooltip="The prompt."), *sides],
            [io.Conditioning.Output(display_name="cond")],
        )

    @classmethod
    def execute(cls, cond: Any, width: int, height: int) -> io.NodeOutput:
        """Copy the prompt with the size beside it."""
        return io.NodeOutput(latent.with_size(cond, width, height))


@with_links_checked
class PixArtLegacyLoraLoader(io.ComfyNode):
    """Was PixArtLoraLoader."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        inputs = [
            io.Model.Input("model", tooltip="The model."),
            io.Combo.Input("lora_name", options=files.LORAS.names(), tooltip="The LoRA."),
            io.Float.Input(
                "strength", default=1.0, min=-20.0, max=20.0, step=0.01, tooltip="How much of it."
            ),
        ]
        return _schema(cls.__name__, "PixArt Load LoRA", "PixArt LoRA", inputs, [io.Model.Output()])

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None = None, **_: Any) -> str:
        """Load anew when the file was replaced."""
        return files.LORAS.fingerprint(lora_name)

    @classmethod
    def execute(cls, model: Any, lora_name: str, strength: float) -> io.NodeOutput:
        """Put the LoRA onto a copy of the model."""
        patched, report = lora.apply_lora(model, files.LORAS.find(lora_name), strength, 0.0)
        return io.NodeOutput(patched, ui={"text": report.splitlines()})


@with_links_checked
class PixArtLegacyControlNetCond(io.ComfyNode):
    """Was PixArtControlNetCond."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        inputs = [
            io.Conditioning.Input("cond", tooltip="The prompt."),
            io.Latent.Input("latent", tooltip="The edges, encoded by the VAE."),
        ]
        return _schema(
            cls.__name__,
            "PixArt ControlNet Conditioning",
            "Load PixArt ControlNet and Apply ControlNet",
            inputs,
            [io.Conditioning.Output(display_name="cond")],
        )

    @classmethod
    def execute(cls, cond: Any, latent: Any) -> io.NodeOutput:
        """Put the hint beside the prompt."""
        return io.NodeOutput(legacy.with_hint(cond, latent))


@with_links_checked
class PixArtLegacyT5Loader(io.ComfyNode):
    """Was T5v11Loader."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        inputs = [
            io.Combo.Input(
                "t5v11_name", options=files.TEXT_ENCODERS.names(), tooltip="T5, from t5."
            ),
            io.Combo.Input("t5v11_ver", options=["xxl"], tooltip="There was only one."),
            io.Combo.Input(
                "path_type",
                options=["folder", "file"],
                tooltip="Not used: the parts of a file that is one of several are found anyway.",
            ),
            io.Combo.Input(
                "device", options=list(OLD_DEVICES), default="cpu", tooltip="Where T5 runs."
            ),
            io.Combo.Input(
                "dtype", options=list(OLD_PRECISIONS), tooltip="How weights are kept in memory."
            ),
        ]
        return _schema(
            cls.__name__,
            "T5v1.1 Loader",
            "Load T5 for PixArt",
            inputs,
            [io.Clip.Output(display_name="T5")],
        )

    @classmethod
    def fingerprint_inputs(cls, t5v11_name: str | None = None, **_: Any) -> str:
        """Change when the file is replaced."""
        return files.TEXT_ENCODERS.fingerprint(t5v11_name)

    @classmethod
    def validate_inputs(cls, device: str) -> bool:
        """Take the name of any device: workflows come from other machines."""
        return True

    @classmethod
    def execute(
        cls, t5v11_name: str, t5v11_ver: str, path_type: str, device: str, dtype: str
    ) -> io.NodeOutput:
        """Load the text encoder."""
        path, place = files.TEXT_ENCODERS.find(t5v11_name), legacy.old_device(device)
        clip = text_encoder.load_text_encoder(path, OLD_PRECISIONS[dtype], place)
        return io.NodeOutput(clip)


@with_links_checked
class PixArtLegacyT5TextEncode(io.ComfyNode):
    """Was T5TextEncode, which left the letters as they are."""

    NAME, CLEANING = "T5 Text Encode", "off"

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        outputs: list[io.Output] = [io.Conditioning.Output()]
        return _schema(cls.__name__, cls.NAME, "PixArt Prompt", _prompt_inputs(), outputs)

    @classmethod
    def execute(cls, text: str, T5: Any) -> io.NodeOutput:  # noqa: N803 (its old name)
        """Encode the prompt."""
        prompt = conditioning.encode_prompts(T5, [cls.written(text)], cls.CLEANING, None)
        return io.NodeOutput(prompt.conditioning, ui={"text": [prompt.notice]})

    @classmethod
    def written(cls, text: str) -> str:
        """Return the prompt in ComfyUI's syntax."""
        return text


class PixArtLegacyTextEncode(PixArtLegacyT5TextEncode):
    """Was PixArtT5TextEncode, which lower-cased, and knew no weights."""

    NAME, CLEANING = "PixArt T5 Text Encode", LOWERCASE

    @classmethod
    def written(cls, text: str) -> str:
        """Return the prompt with its brackets as letters."""
        return text_of([(text, 1.0)])


@with_links_checked
class PixArtLegacyT5FromSD3(io.ComfyNode):
    """Was PixArtT5FromSD3CLIP."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        inputs = [
            io.Clip.Input("sd3_clip", tooltip="A text encoder that holds T5."),
            io.Int.Input(
                "padding",
                default=1,
                min=1,
                max=_LONGEST_PADDING,
                tooltip="Not used: padding is masked, and so changes nothing.",
            ),
        ]
        return _schema(
            cls.__name__,
            "PixArt T5 from SD3 CLIP",
            "Load T5 for PixArt",
            inputs,
            [io.Clip.Output(display_name="t5")],
        )

    @classmethod
    def execute(cls, sd3_clip: Any, padding: int = 1) -> io.NodeOutput:
        """Take T5 out."""
        return io.NodeOutput(legacy.t5_of_sd3(sd3_clip))


LEGACY: dict[str, type[io.ComfyNode]] = {
    "PixArtCheckpointLoader": PixArtLegacyCheckpointLoader,
    "PixArtCheckpointLoaderSimple": PixArtLegacyCheckpointLoaderSimple,
    "PixArtResolutionSelect": PixArtLegacyResolutionSelect,
    "PixArtResolutionCond": PixArtLegacyResolutionCond,
    "PixArtLoraLoader": PixArtLegacyLoraLoader,
    "PixArtControlNetCond": PixArtLegacyControlNetCond,
    "T5v11Loader": PixArtLegacyT5Loader,
    "T5TextEncode": PixArtLegacyT5TextEncode,
    "PixArtT5TextEncode": PixArtLegacyTextEncode,
    "PixArtT5FromSD3CLIP": PixArtLegacyT5FromSD3,
}
"""The old node ids and what stands for them; where their own pack is installed, they are its."""

_DEFAULTS: dict[str, dict[str, Any]] = {
    "PixArtCheckpointLoader": {"model": AUTO},
    "PixArtResolutionSelect": {"model": "PixArtMS_XL_2", "ratio": "1.00"},
    "PixArtLoraLoader": {"strength": 1.0},
    "T5v11Loader": {"t5v11_ver": "xxl", "path_type": "file", "device": "cpu", "dtype": "default"},
    "PixArtT5FromSD3CLIP": {"padding": 1},
}
"""What an input is that some version of the old node did not have."""


async def register_replacements() -> None:
    """Tell the host what stands for the old nodes."""
    if not legacy.has_server():
        return
    api = ComfyAPI()
    for old, new in LEGACY.items():
        schema = new.define_schema()
        inputs, outputs = schema.inputs, range(len(schema.outputs))
        await api.node_replacement.register(
            io.NodeReplace(
                new_node_id=new.__name__,
                old_node_id=old,
                old_widget_ids=[i.id for i in inputs if isinstance(i, io.WidgetInput)],
                input_mapping=[{"new_id": i.id, "old_id": i.id} for i in inputs],
                # Left out, the editor would cut what the node was connected to.
                output_mapping=[{"new_idx": number, "old_idx": number} for number in outputs],
            )
        )
    legacy.replace_in_prompts({old: new.__name__ for old, new in LEGACY.items()}, _DEFAULTS)
