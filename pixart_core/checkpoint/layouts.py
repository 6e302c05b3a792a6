"""The two ways in which PixArt weights are named, and the way between them.

Inside, the project uses the names of the original code. Source of the pairs: PixArt-alpha,
tools/convert_pixart_alpha_to_diffusers.py.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping

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

_NULL_CAPTION = "y_embedder.y_embedding"
_NOT_IN_DIFFUSERS = ("pos_embed", _NULL_CAPTION)

Shape = tuple[int, ...]
Plan = dict[str, tuple[str, ...]]
"""Original name to the names of its parts."""

_ORIGINAL_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
_DIFFUSERS_BLOCK = re.compile(r"transformer_blocks\.(\d+)\.(.+)")


def is_diffusers(keys: Container[str]) -> bool:
    """Whether these are the names of diffusers' PixArtTransformer2DModel."""
    return "adaln_single.linear.weight" in keys and "pos_embed.proj.weight" in keys


def is_original(keys: Container[str]) -> bool:
    """Whether these are the names of PixArt's own code."""
    return "t_block.1.weight" in keys and "x_embedder.proj.weight" in keys


def original_plan(keys: Iterable[str]) -> Plan:
    """Return, by original name, the names in the file of the parts to be stacked.

    Unknown names, and those of unfinished stacks, stand for themselves.
    """
    present, plan = set(keys), dict[str, tuple[str, ...]]()
    for key in keys:
        target = _original_name(key)
        parts = tuple(diffusers_names(target)) if target else ()
        if target == _NULL_CAPTION:
            parts = (key,)
        if target is not None and present.issuperset(parts):
            plan[target] = parts
        else:
            plan[key] = (key,)
    return plan


def original_shapes(shapes: Mapping[str, Shape], plan: Plan) -> dict[str, Shape]:
    """Return the shapes that tensors of these shapes have once they follow the plan."""
    return {
        target: _stacked_shape([shapes[part] for part in parts]) for target, parts in plan.items()
    }


def _stacked_shape(parts: list[Shape]) -> Shape:
    """Stack along the first axis; parts that do not fit each other keep the first one's shape."""
    if len(parts) == 1 or not all(len(part) and part[1:] == parts[0][1:] for part in parts):
        return parts[0]
    return (sum(part[0] for part in parts), *parts[0][1:])


def stacked(tensors: Mapping[str, Tensor], parts: tuple[str, ...]) -> Tensor:
    """Return one tensor of a plan; it shares memory with the file's where it is its only part."""
    if len(parts) == 1:
        return tensors[parts[0]]
    return torch.cat([tensors[part] for part in parts])


def to_original(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and stack diffusers tensors; unknown names and unfinished stacks stay as they are."""
    plan = original_plan(tensors)
    return {target: stacked(tensors, parts) for target, parts in plan.items()}


def to_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and split original tensors; the buffers diffusers does not store are left out."""
    renamed: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if key in _NOT_IN_DIFFUSERS:
            continue
        names = diffusers_names(key)
        renamed.update(zip(names, tensor.chunk(len(names)), strict=True))
    return renamed


def diffusers_names(key: str) -> list[str]:
    """Return diffusers' names of the parts of an original tensor, in the order of its rows."""
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
    if name is None or (not layer and kind != "scale_shift_table"):
        return None
    return prefix + (f"{name}.{kind}" if name else kind)


def _inverse(table: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {part: name for name, parts in table.items() for part in parts}


# Some converters kept the null caption under a name of their own.
_GLOBAL_BACK = {**_inverse(_GLOBAL), "caption_projection": "y_embedder"}
_BLOCK_BACK = _inverse(_BLOCK)
