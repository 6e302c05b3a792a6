"""What old workflows ask for, done with what is here."""

from __future__ import annotations

import logging
import weakref
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.sd
import server
import torch
from torch import Tensor

from ...pixart_core.checkpoint.detect import AUTO
from ...pixart_core.checkpoint.opening import open_model
from ...pixart_core.errors import ConditioningError, SamplingError
from ...pixart_core.legacy import OLD_MODELS, OldModel
from . import text_encoder
from .control import HostControl, PixArtControlNet, load_control
from .loading import LoadedModel, load_model
from .t5_tokens import TOKENS_KEY, PixArtTokenizer

log = logging.getLogger("pixart")

_GPU = "gpu"
_BRANCH = "pixart_legacy_control"
_APPLY = "control_apply_to_uncond"
_LATENT_DIMENSIONS, _LATENT_CHANNELS = 4, 4


def load_old_model(path: Path, old: str) -> LoadedModel:
    """Load a checkpoint of one of the old kinds; its own tensors count for more than the kind.

    The ControlNet of a file that holds one is loaded and unloaded with the model.
    """
    kind = OLD_MODELS.get(old)
    loaded = load_model(path, _variant_of(path, kind), AUTO)
    if kind is not None and kind.with_control:
        branch = load_control(path)
        loaded.patcher.set_attachments(_BRANCH, branch)
        loaded.patcher.set_additional_models(_BRANCH, branch.get_models())
    return loaded


def _variant_of(path: Path, kind: OldModel | None) -> str:
    """Return the old kind's variant where the file leaves it to likelihood, else "auto"."""
    if kind is None:
        return AUTO
    info = open_model(path).info
    return kind.variant if info.is_guess and kind.variant in info.possible else AUTO


def with_hint(conditioning: Any, latent: dict[str, Any]) -> Any:
    """Return a copy of a CONDITIONING with a latent as the hint of the model's own ControlNet.

    Raises SamplingError for a latent that is not of four channels.
    """
    hint = latent["samples"]
    if hint.ndim != _LATENT_DIMENSIONS or hint.shape[1] != _LATENT_CHANNELS:
        raise SamplingError(
            "The ControlNet hint cannot be used",
            found=f"a latent of the shape {' × '.join(map(str, hint.shape))}",
            expected=f"one of {_LATENT_CHANNELS} channels",
            advice="Encode the picture of the edges with the model's own VAE.",
        )
    shared: dict[Any, _InnerControl] = {}
    hinted = []
    for embedding, extras in conditioning:
        previous = extras.get("control")
        if previous not in shared:
            shared[previous] = _InnerControl().set_cond_hint(hint, vae=_Encoded())
            shared[previous].set_previous_controlnet(previous)
        own = {"control": shared[previous], _APPLY: extras.get(_APPLY, False)}
        hinted.append([embedding, {**extras, **own}])
    return hinted


class _Encoded:
    """Stands where a VAE encodes the hint; this one is a latent already."""

    def spacial_compression_encode(self) -> int:
        """Return how many pixels of the hint make one of the latent."""
        return 1

    def encode(self, hint: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C, H, W)."""
        return hint.movedim(-1, 1)


class _InnerControl(PixArtControlNet):
    """A ControlNet that is found with the model when sampling begins, and held weakly."""

    _branch: weakref.ref[HostControl] | None = None

    @property
    def control_model(self) -> HostControl | None:
        """The branch, while its model lives."""
        return None if self._branch is None else self._branch()

    @control_model.setter
    def control_model(self, branch: HostControl | None) -> None:
        self._branch = None if branch is None else weakref.ref(branch)

    def pre_run(self, model: Any, percent_to_timestep_function: Any) -> None:
        """Take the branch that lies with the model; raise SamplingError where there is none."""
        patcher = getattr(model, "current_patcher", None)
        branch = None if patcher is None else patcher.get_attachment(_BRANCH)
        if branch is None:
            raise SamplingError(
                "The ControlNet hint cannot be used",
                found="a model without a ControlNet in its file",
                expected="one loaded as ControlPixArtHalf or ControlPixArtMSHalf",
                advice="Choose that in the loader, or use Load PixArt ControlNet and ComfyUI's "
                "Apply ControlNet.",
            )
        self.control_model = branch.control_model
        self.manual_cast_dtype = branch.manual_cast_dtype
        super().pre_run(model, percent_to_timestep_function)

    def get_models(self) -> list[Any]:
        """Return none of its own: the branch comes with the model."""
        previous = self.previous_controlnet
        return [] if previous is None else list(previous.get_models())

    def deepclone_multigpu(self, load_device: Any, autoregister: bool = False) -> Any:
        """Refuse: the branch is the model's."""
        raise SamplingError(
            "An old ControlNet prompt cannot be split between graphics cards",
            found="MultiGPU CFG Split",
            expected="one graphics card",
            advice="Use Load PixArt ControlNet and ComfyUI's Apply ControlNet instead.",
        )

    def copy(self) -> _InnerControl:
        """Return another one with the same hint."""
        copied = _InnerControl()
        self.copy_to(copied)
        return copied


class _T5Alone(torch.nn.Module):
    """T5 of a text encoder of several, under the interface of a text encoder of one."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.t5xxl = whole.t5xxl

    def set_clip_options(self, options: dict[str, Any]) -> None:
        """Pass on what the host sets before it encodes."""
        self.t5xxl.set_clip_options(options)

    def reset_clip_options(self) -> None:
        """Undo that."""
        self.t5xxl.reset_clip_options()

    def encode_token_weights(self, tokens: dict[str, Any]) -> Any:
        """Encode T5's tokens: (1, L, C), and no pooled vector."""
        return self.t5xxl.encode_token_weights(tokens[TOKENS_KEY])


def t5_of_sd3(clip: comfy.sd.CLIP) -> comfy.sd.CLIP:
    """Return the T5 in a text encoder of SD3, Flux and the like as a CLIP of its own.

    Raises ConditioningError for a text encoder without T5.
    """
    whole = None if clip is None else clip.cond_stage_model
    if getattr(whole, TOKENS_KEY, None) is None:
        raise ConditioningError(
            "T5 cannot be taken from this text encoder",
            found="none" if whole is None else f"a {type(whole).__name__} without it",
            expected="one that holds T5, as those of SD3 and Flux do",
            advice="Load one with T5 in it, or use Load T5 for PixArt.",
        )
    alone = clip.clone()
    alone.cond_stage_model = _T5Alone(whole)
    alone.tokenizer = PixArtTokenizer()
    return alone


def old_device(device: str) -> str:
    """Return the device that an old name stands for, among those of the machine."""
    if device == _GPU:
        return str(comfy.model_management.get_torch_device())
    if device in text_encoder.devices():
        return device
    log.warning("T5 was to run on %s, which is not here; ComfyUI chooses.", device)
    return text_encoder.AUTO


def has_server() -> bool:
    """Whether the pack runs in a server, and not as a library."""
    return getattr(server.PromptServer, "instance", None) is not None


def replace_in_prompts(successors: dict[str, str], defaults: dict[str, dict[str, Any]]) -> None:
    """Make the server put our nodes in the place of old ones in the prompts that it is sent.

    ``successors`` are ids by old id; ``defaults``, by old id, what inputs are that some version
    did not have. The server's own replacement would fail (HTTP 500) where a title or an input is
    missing; it is left with the editor, which asks for it.
    """

    def replace(request: dict[str, Any]) -> dict[str, Any]:
        prompt = request.get("prompt")
        for node in prompt.values() if isinstance(prompt, dict) else ():
            old = node.get("class_type") if isinstance(node, dict) else None
            # Where the other pack is installed, its own nodes are meant.
            if old in successors and old not in server.nodes.NODE_CLASS_MAPPINGS:
                inputs = node.get("inputs")
                given = inputs if isinstance(inputs, dict) else {}
                node |= {
                    "class_type": successors[old],
                    "inputs": {**defaults.get(old, {}), **given},
                }
        return request

    server.PromptServer.instance.add_on_prompt_handler(replace)
