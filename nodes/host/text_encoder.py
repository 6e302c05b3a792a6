"""A T5 file as an ordinary CLIP of the host."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.hooks
import comfy.model_management
import comfy.model_patcher
import comfy.quant_ops
import comfy.sd
import comfy.sd1_clip
import comfy.text_encoders.pixart_t5
import folder_paths
import torch

from ...pixart_core.text.t5 import T5Shape
from ...pixart_core.text.t5_file import T5File, open_t5, tokenizer_of
from .room import room_for
from .t5_tokens import TOKENS_KEY, PixArtTokenizer, tokenizer_data
from .t5_transformers import BitsT5
from .t5_weights import FP8, INT8, Layout, T5Weights
from .whole_patcher import WholePatcher

log = logging.getLogger("pixart")


@dataclass(frozen=True)
class Precision:
    """How T5's weights are kept in memory; as in the file where nothing is set."""

    dtype: torch.dtype | None = None
    layout: Layout | None = None
    bits: int | None = None
    """Quantised by bitsandbytes to so many."""


_FP8 = "fp8"
PRECISIONS = {
    "auto": Precision(),
    "fp32": Precision(torch.float32),
    "bf16": Precision(torch.bfloat16),
    "fp16": Precision(torch.float16),
    _FP8: Precision(layout=FP8),
    "int8 (offloadable)": Precision(layout=INT8),
    "8-bit (bitsandbytes)": Precision(bits=8),
    "4-bit (bitsandbytes)": Precision(bits=4),
}

AUTO = "auto"
_CPU = "cpu"


@dataclass(frozen=True)
class Places:
    """Where T5 is while it is used, and while it is not."""

    runs: torch.device
    rests: torch.device


@dataclass(frozen=True)
class T5Source:
    """Where a text encoder came from; it goes into the files of saved prompts."""

    name: str
    precision: str


class PixArtT5(comfy.sd1_clip.SD1ClipModel):  # type: ignore[misc]
    """A T5 without padding, so that a conditioning holds the real tokens alone."""

    source: T5Source | None = None

    def __init__(
        self, device: Any = "cpu", dtype: Any = None, model_options: dict[str, Any] | None = None
    ) -> None:
        super().__init__(
            device=device,
            dtype=dtype,
            name=TOKENS_KEY,
            clip_model=comfy.text_encoders.pixart_t5.T5XXLModel,
            model_options=model_options or {},
        )


def devices() -> list[str]:
    """List where T5 can run."""
    management = comfy.model_management
    # ComfyUI 0.16 knows of one alone.
    list_all = getattr(management, "get_all_torch_devices", lambda: [management.get_torch_device()])
    found = list_all()
    return [AUTO, _CPU, *(str(device) for device in found if device.type != _CPU)]


@room_for(
    "T5 cannot be loaded",
    "Set Precision to int8 (offloadable), which takes half of it, or Device to cpu; or save the "
    "prompts where T5 fits, and load them here without it.",
)
def load_text_encoder(
    path: Path, precision: str, device: str, disable_dynamic: bool = False
) -> comfy.sd.CLIP:
    """Load a T5 file or folder as a CLIP.

    Raises CheckpointError where it is none, MissingPackageError where bitsandbytes is needed and
    absent.
    """
    file = open_t5(path)
    precision = _known(precision)
    kind = PRECISIONS[precision]
    weights = T5Weights(file, torch.bfloat16 if kind.bits else kind.dtype, kind.layout)
    if kind.bits:
        clip = _bits_clip(weights, kind.bits, _places(device))
    else:
        clip = _host_clip(weights, _places(device), disable_dynamic)
    file.files.check_unchanged()
    kept = weights.kept_as if precision == AUTO else precision
    clip.cond_stage_model.source = T5Source(file.name, kept)
    clip.patcher.cached_patcher_init = (_load_patcher, (path, precision, device))
    return clip


def _known(precision: str) -> str:
    """Return a precision, or fp8 with a notice in place of int8 where ComfyUI is too old for it."""
    if PRECISIONS[precision].layout != INT8 or INT8.format in comfy.quant_ops.QUANT_ALGOS:
        return precision
    log.warning(
        "This ComfyUI does not know %s: T5 is kept in fp8, as small but less exact. Update ComfyUI "
        "to have what was chosen.",
        precision,
    )
    return _FP8


def _load_patcher(path: Path, precision: str, device: str, disable_dynamic: bool = False) -> Any:
    return load_text_encoder(path, precision, device, disable_dynamic).patcher


def _places(device: str) -> Places:
    management = comfy.model_management
    if device == AUTO:
        return Places(management.text_encoder_device(), management.text_encoder_offload_device())
    return Places(torch.device(device), torch.device(_CPU))


def _host_clip(weights: T5Weights, places: Places, disable_dynamic: bool) -> comfy.sd.CLIP:
    """Build what the host's own loader builds, but fill the model tensor by tensor."""
    dtype = weights.dtype or _own_dtype(weights)
    options: dict[str, Any] = {"t5xxl_model_config": _host_config(weights.file.shape)}
    if weights.mixes_layouts:
        options["t5xxl_quantization_metadata"] = {"mixed_ops": True}
    model = PixArtT5(places.rests, dtype, options)
    if not comfy.model_management.supports_cast(places.runs, dtype):
        places = Places(places.rests, places.rests)
    patchers = comfy.model_patcher
    kind = patchers.ModelPatcher if disable_dynamic else patchers.CoreModelPatcher
    if issubclass(kind, patchers.ModelPatcherDynamic):
        patcher = kind(model, places.runs, places.rests)
        entries = {f"{module}.{name}": e for module, own in weights for name, e in own.items()}
        for module in model.modules():
            # As the host marks modules that keep the tensors they are given.
            module.can_assign_sd = True
        model.load_sd(entries)
    else:
        _fill(model.t5xxl.transformer, weights)
        patcher = kind(model, places.runs, places.rests)
    # Some weights may be wider than asked for.
    comfy.model_management.archive_model_dtypes(model)
    patcher.set_model_compute_dtype(torch.float32)
    return _clip(patcher, weights.file)


def _own_dtype(weights: T5Weights) -> torch.dtype:
    """Return what quantised weights become before they are multiplied in fp32.

    It is also what the host makes of a file's layers that are not quantised.
    """
    if weights.layout is not None:
        return torch.float32
    return weights.file.tensors["encoder.final_layer_norm.weight"].dtype


def _fill(transformer: torch.nn.Module, weights: T5Weights) -> None:
    """Give the model its weights, one by one, so that no second copy is ever in memory."""
    modules = dict(transformer.named_modules())
    for module, entries in weights:
        modules[module].load_state_dict(entries, assign=True)


def _bits_clip(weights: T5Weights, bits: int, places: Places) -> comfy.sd.CLIP:
    model = BitsT5(weights, bits)
    return _clip(WholePatcher(model, places.runs, places.rests), weights.file)


def _clip(patcher: comfy.model_patcher.ModelPatcher, file: T5File) -> comfy.sd.CLIP:
    patcher.hook_mode = comfy.hooks.EnumHookMode.MinVram
    patcher.is_clip = True
    clip = comfy.sd.CLIP(no_init=True)
    clip.patcher = patcher
    clip.cond_stage_model = patcher.model
    embeddings = folder_paths.get_folder_paths("embeddings")
    clip.tokenizer = PixArtTokenizer(embeddings, tokenizer_data(tokenizer_of(file.files.source)))
    clip.tokenizer_options = {}
    clip.layer_idx = None
    clip.use_clip_schedule = False
    clip.apply_hooks_to_conds = None
    return clip


def _host_config(shape: T5Shape) -> dict[str, Any]:
    return {
        "num_layers": shape.layers,
        "d_model": shape.width,
        "d_kv": shape.head_size,
        "num_heads": shape.heads,
        "d_ff": shape.mlp_size,
    }
