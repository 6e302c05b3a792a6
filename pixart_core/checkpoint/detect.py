"""What a checkpoint is, from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from ..errors import CheckpointError
from ..network.config import NetworkConfig
from ..variants import VARIANTS, Variant

Shapes = Mapping[str, tuple[int, ...]]

AUTO = "auto"
"""The choice that leaves the variant to detection."""

_TELLTALES = (
    ("encoder.block.0.layer.0.SelfAttention.q.weight", "a T5 text encoder", "Load T5 for PixArt"),
    (
        "model.diffusion_model.input_blocks.0.0.weight",
        "a Stable Diffusion checkpoint",
        "Load Checkpoint",
    ),
    ("input_blocks.0.0.weight", "a Stable Diffusion model", "Load Diffusion Model"),
    ("attention_y_norm.weight", "a Sana model", "a loader for Sana"),
    ("double_blocks.0.img_attn.qkv.weight", "a Flux model", "Load Diffusion Model"),
    ("decoder.conv_in.weight", "a VAE", "Load VAE"),
    ("taesd_decoder.1.weight", "a tiny VAE", "Load VAE"),
)
"""Tensors by which files of other kinds are known, and the node that takes them."""

_NEEDED = (
    "t_block.1.weight",
    "y_embedder.y_proj.fc1.weight",
    "blocks.0.cross_attn.q_linear.weight",
    "x_embedder.proj.weight",
    "final_layer.linear.weight",
    "blocks.0.mlp.fc1.weight",
)

_BLOCK = re.compile(r"blocks\.(\d+)\.")
_NULL_CAPTION = "y_embedder.y_embedding"
_SIZE_CONDITION = "ar_embedder.mlp.0.weight"
_SIDE_BY_GRID = {256: 256, 1024: 512, 4096: 1024, 16384: 2048}
_FAMILY_BY_TOKENS = {120: "alpha", 300: "sigma"}
_LIKELIEST = {"alpha": "alpha-512", "sigma": "sigma-1024", None: "sigma-1024"}


@dataclass(frozen=True)
class CheckpointInfo:
    """What a file holds and how sure that is."""

    network: NetworkConfig
    variant: Variant
    ground: str
    """By what the variant was told."""
    possible: tuple[str, ...]
    """Variants that the tensors allow; more than one where they cannot tell."""


def detect(shapes: Shapes, name: str = "", chosen: str = AUTO) -> CheckpointInfo:
    """Tell a PixArt checkpoint in original layout by its tensors.

    Where tensors leave several variants, the file's ``name`` decides, then likelihood; a
    ``chosen`` variant is taken if the tensors allow it. Raises CheckpointError for a file that
    is no PixArt model, and for a choice that its tensors rule out.
    """
    _check_is_pixart(shapes)
    possible = _possible(shapes)
    if chosen != AUTO:
        variant, ground = _take_choice(chosen, possible), "your choice"
    elif len(possible) == 1:
        variant, ground = VARIANTS[possible[0]], "the file's tensors"
    else:
        variant, ground = _guess(possible, name)
    return CheckpointInfo(_network(shapes, variant), variant, ground, possible)


def _check_is_pixart(shapes: Shapes) -> None:
    if all(key in shapes for key in _NEEDED) and "attention_y_norm.weight" not in shapes:
        return
    for key, kind, node in _TELLTALES:
        if key in shapes:
            raise CheckpointError(
                "This file cannot be loaded as a PixArt model",
                found=kind,
                expected="a PixArt transformer",
                advice=f"Use {node} for it, or choose another file here.",
            )
    raise CheckpointError(
        "This file cannot be loaded as a PixArt model",
        found=f"{len(shapes)} tensors ({_some(shapes)})",
        expected=f"a PixArt transformer, with tensors such as {_NEEDED[0]}",
        advice="Choose a file with a PixArt model.",
    )


def _possible(shapes: Shapes) -> tuple[str, ...]:
    has_size = _SIZE_CONDITION in shapes
    tokens = shapes[_NULL_CAPTION][0] if _NULL_CAPTION in shapes else None
    side = _SIDE_BY_GRID.get(shapes["pos_embed"][1]) if "pos_embed" in shapes else None
    family = _FAMILY_BY_TOKENS.get(tokens) if tokens is not None else None
    names = [v for v in VARIANTS.values() if v.size_conditions == has_size]
    for wanted in (
        [v for v in names if family is None or v.family == family],
        [
            v
            for v in names
            if (family is None or v.family == family) and (side is None or v.sample_size == side)
        ],
    ):
        # A fine-tune may have a grid that no release has: then its family still counts.
        names = wanted or names
    return tuple(v.name for v in names)


def _take_choice(chosen: str, possible: tuple[str, ...]) -> Variant:
    if chosen in possible:
        return VARIANTS[chosen]
    raise CheckpointError(
        f"The file cannot be loaded as {chosen}",
        found=f"tensors that only fit {_listed(possible)}",
        expected=f"tensors of {chosen}",
        advice=f"Set variant to {AUTO} or to one that fits.",
    )


def _guess(possible: tuple[str, ...], name: str) -> tuple[Variant, str]:
    words = PurePath(name.replace("\\", "/")).name.lower()
    named = [v for v in possible if _is_named(VARIANTS[v], words)]
    if len(named) == 1:
        return VARIANTS[named[0]], "the file's name"
    families = {VARIANTS[v].family for v in possible}
    family = next(iter(families)) if len(families) == 1 else None
    likeliest = _LIKELIEST[family]
    if likeliest not in possible:
        likeliest = possible[-1]
    return VARIANTS[likeliest], "likelihood alone"


def _is_named(variant: Variant, words: str) -> bool:
    side = "2k" if variant.sample_size == 2048 else str(variant.sample_size)
    family = "sigma" if "sigma" in words else "alpha"
    return side in words and variant.family == family


def _network(shapes: Shapes, variant: Variant) -> NetworkConfig:
    hidden, in_channels, patch, _ = shapes["x_embedder.proj.weight"]
    return NetworkConfig(
        depth=1 + max(int(found[1]) for key in shapes if (found := _BLOCK.match(key))),
        hidden_size=hidden,
        mlp_size=shapes["blocks.0.mlp.fc1.weight"][0],
        in_channels=in_channels,
        out_channels=shapes["final_layer.linear.weight"][0] // patch**2,
        patch_size=patch,
        caption_channels=shapes["y_embedder.y_proj.fc1.weight"][1],
        position_range=variant.position_range,
        size_conditions=_SIZE_CONDITION in shapes,
        null_caption_tokens=shapes[_NULL_CAPTION][0] if _NULL_CAPTION in shapes else 0,
    )


def check_complete(found: Shapes, wanted: Shapes, kind: str) -> None:
    """Raise CheckpointError unless ``found`` has just the tensors of ``wanted``, in shape too."""
    missing = sorted(set(wanted) - set(found))
    extra = sorted(set(found) - set(wanted))
    wrong = sorted(k for k in set(wanted) & set(found) if found[k] != wanted[k])
    if not (missing or extra or wrong):
        return
    complaints = [
        f"{len(keys)} {kind} ({_some(keys)})"
        for kind, keys in (("missing", missing), ("unknown", extra), ("of another shape", wrong))
        if keys
    ]
    raise CheckpointError(
        f"The {kind} is damaged or of a kind that is not supported",
        found=f"tensors: {', '.join(complaints)}",
        expected=f"the {len(wanted)} tensors of this {kind}",
        advice="Download the file again, or choose another one.",
    )


def _some(names: Iterable[str], most: int = 3) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
