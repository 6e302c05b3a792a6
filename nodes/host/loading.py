"""Loading a PixArt file or folder as an ordinary MODEL of the host."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import comfy.utils
import torch

from ...pixart_core.checkpoint.completeness import check_finite
from ...pixart_core.checkpoint.detect import AUTO
from ...pixart_core.checkpoint.opening import OpenedModel, open_model
from ...pixart_core.checkpoint.report import guess_notice
from ...pixart_core.network.config import KVCompression
from ...pixart_core.network.matmul import has_bf16_units
from ...pixart_core.variants import VARIANTS
from .model import PixArtModel, PixArtModelConfig
from .room import room_for
from .run import keep_in_runs

log = logging.getLogger("pixart")

VARIANT_CHOICES = [AUTO, *VARIANTS]

WEIGHT_DTYPES = {
    "auto": None,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}


@dataclass(frozen=True)
class LoadedModel:
    """A MODEL, and what to tell the user of it."""

    patcher: comfy.model_patcher.ModelPatcher
    text: str


@room_for(
    "The model cannot be loaded",
    "Close what else uses the memory, or set Weight precision to bf16 or fp8.",
)
def load_model(
    path: Path,
    variant: str,
    weight_dtype: str,
    compression: KVCompression | None = None,
) -> LoadedModel:
    """Load a PixArt file or diffusers folder; raise CheckpointError where it is none."""
    opened = open_model(path, variant, compression)
    return LoadedModel(_patcher(opened, path, variant, weight_dtype, compression), _tell(opened))


def _load_patcher(
    path: Path,
    variant: str,
    weight_dtype: str,
    compression: KVCompression | None,
    disable_dynamic: bool = False,
) -> comfy.model_patcher.ModelPatcher:
    """Load the same model again, for a host that wants another copy of it."""
    opened = open_model(path, variant, compression)
    return _patcher(opened, path, variant, weight_dtype, compression, disable_dynamic)


def _patcher(
    opened: OpenedModel,
    path: Path,
    variant: str,
    weight_dtype: str,
    compression: KVCompression | None,
    disable_dynamic: bool = False,
) -> comfy.model_patcher.ModelPatcher:
    opened.check_complete()
    patcher = _build(opened, WEIGHT_DTYPES[weight_dtype], disable_dynamic)
    patcher.cached_patcher_init = (_load_patcher, (path, variant, weight_dtype, compression))
    return patcher


def _tell(opened: OpenedModel) -> str:
    """Log what the model is and by what that was told, and return it."""
    facts = f"{opened.name} is {opened.info.variant.name}, by {opened.info.ground}."
    log.info(facts)
    compression = opened.info.network.kv_compression
    if compression:
        facts += f" Keys and values are compressed ({compression.mode}, {compression.factor})."
    notices = [*opened.notices, guess_notice(opened)]
    for notice in filter(None, notices):
        log.warning("%s: %s", opened.name, notice)
    return " ".join(filter(None, [facts, *notices]))


def _build(
    opened: OpenedModel, dtype: torch.dtype | None, disable_dynamic: bool
) -> comfy.model_patcher.ModelPatcher:
    management = comfy.model_management
    load_device, offload_device = management.get_torch_device(), management.unet_offload_device()
    config = PixArtModelConfig(opened.info)
    supported = config.supported_inference_dtypes
    if dtype is None:
        dtype = management.unet_dtype(
            model_params=sum(math.prod(shape) for shape in opened.shapes.values()),
            supported_dtypes=supported,
            weight_dtype=comfy.utils.weight_dtype(opened.checkpoint.tensors),
        )
    cast = _computing_dtype(dtype, load_device, supported)
    config.set_inference_dtype(dtype, cast)
    model = PixArtModel(config, opened.info.variant).eval()
    patchers = comfy.model_patcher
    kind = patchers.ModelPatcher if disable_dynamic else patchers.CoreModelPatcher
    patcher = kind(model, load_device=load_device, offload_device=offload_device)
    _fill(model, opened, assign=patcher.is_dynamic())
    opened.checkpoint.check_unchanged()
    keep_in_runs(patcher)
    return patcher


def _computing_dtype(
    dtype: torch.dtype, device: torch.device, supported: Sequence[torch.dtype]
) -> torch.dtype | None:
    """Return the precision to compute in where it is not that of the weights.

    The host takes every processor for one that is slow in bf16.
    """
    if device.type == "cpu" and dtype == torch.bfloat16 and has_bf16_units():
        return None
    found: torch.dtype | None = comfy.model_management.unet_manual_cast(dtype, device, supported)
    return found


def _fill(model: PixArtModel, opened: OpenedModel, assign: bool) -> None:
    """Give the model its weights, each checked for numbers that are not finite.

    One by one, so that no second copy of the model is ever in memory; or, where the host keeps
    weights mapped, as they lie in the file.
    """
    if assign:
        tensors = {}
        for key, tensor in opened.tensors():
            check_finite(key, tensor)
            tensors[key] = tensor
        model.load_model_weights(tensors, "", assign=True)
        return
    targets = model.diffusion_model.state_dict()
    for key, tensor in opened.tensors():
        check_finite(key, tensor)
        targets[key].copy_(tensor)
