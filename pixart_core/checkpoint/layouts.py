"""The two ways in which PixArt weights are named, and the way between them.

Inside, the project uses the names of the original code. Source of the pairs: PixArt-alpha,
tools/convert_pixart_alpha_to_diffusers.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_GLOBAL = {
    "x_embedder.proj": ("pos_embed.proj",),
    "y_embedder.y_proj.fc1": ("caption_projection.linear_1",),
    "y_embedder.y_proj.fc2": ("caption_projection.linear_2",),
    "t_embedder.mlp.0": ("adaln_single.emb.timestep_embedder.linear_1",),
    "t_embedder.mlp.2": ("adaln_single.emb.timestep_embedder.linear_2",),
    "csize_embedder.mlp.0": ("adaln_single.emb.resolution_embedder.linear_1",),
    "csize_embedder.mlp.2": ("adaln_single.emb.resolution_embedder.linear_2",),
    "ar_embedder.mlp.0": ("adaln_single.emb.aspect_ratio_embedder.linear_1",),
    "ar_embedder.mlp.2": ("adaln_single.emb.aspect_ratio_embedder.linear_2",),
    "t_block.1": ("adaln_single.linear",),
    "final_layer.linear": ("proj_out",),
    "final_layer": ("",),
}
"""Layers outside the blocks; ``final_layer`` alone owns the bare ``scale_shift_table``."""

_BLOCK = {
    "attn.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "attn.proj": ("attn1.to_out.0",),
    "attn.q_norm": ("attn1.q_norm",),
    "attn.k_norm": ("attn1.k_norm",),
    "cross_attn.q_linear": ("attn2.to_q",),
    "cross_attn.kv_linear": ("attn2.to_k", "attn2.to_v"),
    "cross_attn.proj": ("attn2.to_out.0",),
    "mlp.fc1": ("ff.net.0.proj",),
    "mlp.fc2": ("ff.net.2",),
    "": ("",),
}
"""Layers of a block; several names on the right are stacked along the first axis."""

_NOT_IN_DIFFUSERS = ("pos_embed", "y_embedder.y_embedding")

_PREFIXES = ("model.diffusion_model.", "diffusion_model.")
"""What the host's ModelSave and CheckpointSave put before original names."""

_ORIGINAL_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
_DIFFUSERS_BLOCK = re.compile(r"transformer_blocks\.(\d+)\.(.+)")


def without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the transformer's tensors of a file that the host's own nodes saved, or all."""
    for prefix in _PREFIXES:
        if f"{prefix}t_block.1.weight" in tensors:
            return {
                key.removeprefix(prefix): tensor
                for key, tensor in tensors.items()
                if key.startswith(prefix)
            }
    return dict(tensors)


def is_diffusers(keys: Mapping[str, object]) -> bool:
    """Whether these are the names of diffusers' PixArtTransformer2DModel."""
    return "adaln_single.linear.weight" in keys and "pos_embed.proj.weight" in keys


def to_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and split original tensors; the buffers diffusers does not store are left out."""
    renamed: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if key in _NOT_IN_DIFFUSERS:
            continue
        names = _diffusers_names(key)
        renamed.update(zip(names, tensor.chunk(len(names)), strict=True))
    return renamed


def to_original(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and stack diffusers tensors; unknown names and unfinished stacks stay as they are."""
    renamed: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        target = _original_name(key)
        if target is None:
            renamed[key] = tensor
            continue
        parts = _diffusers_names(target)
        if all(part in tensors for part in parts):
            if target not in renamed:
                stack = [tensors[part] for part in parts]
                renamed[target] = stack[0] if len(stack) == 1 else torch.cat(stack)
        else:
            renamed[key] = tensor
    return renamed


def _diffusers_names(key: str) -> list[str]:
    block = _ORIGINAL_BLOCK.fullmatch(key)
    prefix, rest = (f"transformer_blocks.{block[1]}.", block[2]) if block else ("", key)
    layer, _, kind = rest.rpartition(".")
    names = (_BLOCK if block else _GLOBAL).get(layer, (layer,))
    return [prefix + (f"{name}.{kind}" if name else kind) for name in names]


def _original_name(key: str) -> str | None:
    block = _DIFFUSERS_BLOCK.fullmatch(key)
    prefix, rest = (f"blocks.{block[1]}.", block[2]) if block else ("", key)
    layer, _, kind = rest.rpartition(".")
    name = (_BLOCK_BACK if block else _GLOBAL_BACK).get(layer)
    if name is None:
        return None
    return prefix + (f"{name}.{kind}" if name else kind)


def _inverse(table: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {part: name for name, parts in table.items() for part in parts}


_GLOBAL_BACK = _inverse(_GLOBAL)
_BLOCK_BACK = _inverse(_BLOCK)
