"""A model from one layout into the other, or into another precision."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..errors import CheckpointError
from ..variants import LATENT_PIXEL, Variant
from ..writing import check_free, written
from .completeness import check_finite
from .hints import NOTE
from .layouts import to_diffusers
from .opening import Layout, OpenedModel
from .source import NULL_CAPTION_FILE, SAFETENSORS

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

Progress = Callable[[Iterable[tuple[str, Tensor]], int], Iterable[tuple[str, Tensor]]]
"""Passes tensors through, given how many there are."""

_NULL_CAPTION = "y_embedder.y_embedding"
_WEIGHTS = "diffusion_pytorch_model.safetensors"


def convert(
    model: OpenedModel,
    target: Path,
    layout: Layout,
    dtype: torch.dtype | None = None,
    force: bool = False,
    progress: Progress = lambda tensors, _: tensors,
) -> None:
    """Write a model as safetensors: a file, or for diffusers a folder where no file is named.

    ``dtype`` None keeps that of each tensor. Raises CheckpointError for a model that is not
    complete or not finite, or that the layout has no place for, and WritingError.
    """
    model.check_complete()
    is_file = target.suffix.lower() in SAFETENSORS
    if layout == "original" and not is_file:
        raise CheckpointError(
            f"{model.name} cannot be converted",
            found=f"the name {target.name}",
            expected="a name that ends in .safetensors",
            advice="Add the ending.",
        )
    if layout == "diffusers":
        _check_is_known(model)
        _check_diffusers_has_it(model)
    check_free(target, force, folder=not is_file)
    tensors = {
        key: _ready(key, tensor, dtype)
        for key, tensor in progress(model.tensors(), len(model.plan))
    }
    model.checkpoint.check_unchanged()
    note = {"format": "pt"}
    if not model.info.is_guess:
        note[NOTE] = model.info.variant.name
    with written(target, force, folder=not is_file) as draft:
        if layout == "original":
            save_file(tensors, draft, note)
        elif is_file:
            save_file(_separate(to_diffusers(tensors)), draft, note)
        else:
            _write_folder(model, tensors, draft, note)


def diffusers_config(model: OpenedModel) -> dict[str, Any]:
    """Return the ``config.json`` with which diffusers loads the model."""
    network, variant = model.info.network, model.info.variant
    return {
        "_class_name": "PixArtTransformer2DModel",
        "_diffusers_version": "0.31.0",
        "activation_fn": "gelu-approximate",
        "attention_bias": True,
        "attention_head_dim": network.hidden_size // network.heads,
        "attention_type": "default",
        "caption_channels": network.caption_channels,
        "cross_attention_dim": network.hidden_size,
        "dropout": 0.0,
        "in_channels": network.in_channels,
        "interpolation_scale": _interpolation_scale(variant),
        "norm_elementwise_affine": False,
        "norm_eps": 1e-6,
        "norm_num_groups": 32,
        "norm_type": "ada_norm_single",
        "num_attention_heads": network.heads,
        "num_embeds_ada_norm": 1000,
        "num_layers": network.depth,
        "out_channels": network.out_channels,
        "patch_size": network.patch_size,
        "sample_size": variant.sample_size // LATENT_PIXEL,
        "upcast_attention": False,
        "use_additional_conditions": network.size_conditions,
    }


def _interpolation_scale(variant: Variant) -> float | None:
    """Return Sigma's scale; alpha's is diffusers' default, and its absence tells the families."""
    return variant.sample_size / 512 if variant.family == "sigma" else None


def _check_is_known(model: OpenedModel) -> None:
    """Refuse to write a guess into a configuration, where it would pass for a fact."""
    if model.info.is_guess:
        raise CheckpointError(
            f"{model.name} cannot be converted to diffusers' layout",
            found=f"a model that may be any of {', '.join(model.info.possible)}",
            expected="a model that is known, because its configuration is written along",
            advice="Say which it is with --variant.",
        )


def _check_diffusers_has_it(model: OpenedModel) -> None:
    network = model.info.network
    for name, present in (
        ("compressed keys and values", network.kv_compression is not None),
        ("normed queries and keys", network.qk_norm),
    ):
        if present:
            raise CheckpointError(
                f"{model.name} cannot be converted to diffusers' layout",
                found=f"a model with {name}",
                expected="a model that diffusers knows",
                advice="Convert it to the original layout.",
            )


def _ready(key: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    check_finite(key, tensor)
    ready = tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)
    if dtype is not None and not bool(torch.isfinite(ready).all()):
        raise CheckpointError(
            f"The weights cannot be written as {_name_of(dtype)}",
            found=f"numbers in {key} that are too large for it",
            expected=f"numbers up to {torch.finfo(dtype).max:g}",
            advice="Choose bf16 or fp32.",
        )
    return ready.contiguous()


def _name_of(dtype: torch.dtype) -> str:
    return next(name for name, known in DTYPES.items() if known == dtype)


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give each part of a stack memory of its own, as safetensors wants it."""
    return {key: tensor.clone() for key, tensor in tensors.items()}


def _write_folder(
    model: OpenedModel, tensors: dict[str, Tensor], draft: Path, note: dict[str, str]
) -> None:
    config = json.dumps(diffusers_config(model), indent=2) + "\n"
    (draft / "config.json").write_text(config, encoding="utf-8")
    save_file(_separate(to_diffusers(tensors)), draft / _WEIGHTS, note)
    if _NULL_CAPTION in tensors:
        save_file({_NULL_CAPTION: tensors[_NULL_CAPTION]}, draft / NULL_CAPTION_FILE, note)
