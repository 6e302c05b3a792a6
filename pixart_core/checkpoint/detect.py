"""What a checkpoint is, from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from ..errors import CheckpointError
from ..network.config import HEAD_SIZE, NetworkConfig
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
    (
        "down_blocks.0.resnets.0.norm1.weight",
        "a Stable Diffusion UNet",
        "Load Diffusion Model",
    ),
    ("attention_y_norm.weight", "a Sana model", "a loader for Sana"),
    ("double_blocks.0.img_attn.qkv.weight", "a Flux model", "Load Diffusion Model"),
    ("decoder.conv_in.weight", "a VAE", "Load VAE"),
    ("taesd_decoder.1.weight", "a tiny VAE", "Load VAE"),
)
"""Tensors by which files of other kinds are known, and the node that takes them."""

_NEEDED = {
    "t_block.1.weight": 2,
    "y_embedder.y_proj.fc1.weight": 2,
    "blocks.0.cross_attn.q_linear.weight": 2,
    "x_embedder.proj.weight": 4,
    "final_layer.linear.weight": 2,
    "blocks.0.mlp.fc1.weight": 2,
}
"""Tensors that every PixArt model has, and the number of their axes."""

_FOREIGN = "attention_y_norm.weight"
"""Sana has it beside all that PixArt has."""

_BLOCK = re.compile(r"blocks\.(\d+)\.")
_NULL_CAPTION = "y_embedder.y_embedding"
_SIZE_CONDITION = "ar_embedder.mlp.0.weight"
_SIDE_BY_GRID = {256: 256, 1024: 512, 4096: 1024, 16384: 2048}
_BY_LIKELIHOOD = (
    *("sigma-1024", "sigma-512", "alpha-512", "alpha-1024", "sigma-2k", "sigma-256", "alpha-256"),
)
_FAMILY_SIGNS = {"sigma": ("sigma",), "alpha": ("alpha", "pixart-xl")}
"""By what a file's name tells its family; the official alpha files are called PixArt-XL-2-…."""


class Ground(StrEnum):
    """By what a variant was told, from the surest to the least sure."""

    CHOICE = "your choice"
    TENSORS = "the file's tensors"
    NAME = "the file's name"
    LIKELIHOOD = "likelihood alone"


@dataclass(frozen=True)
class CheckpointInfo:
    """What a file holds and how sure that is."""

    network: NetworkConfig
    variant: Variant
    ground: Ground
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
        variant, ground = _take_choice(chosen, possible), Ground.CHOICE
    elif len(possible) == 1:
        variant, ground = VARIANTS[possible[0]], Ground.TENSORS
    else:
        variant, ground = _guess(possible, name)
    return CheckpointInfo(_network(shapes, variant), variant, ground, possible)


def _check_is_pixart(shapes: Shapes) -> None:
    if _FOREIGN not in shapes and all(
        len(shapes.get(key, ())) == axes for key, axes in _NEEDED.items()
    ):
        _check_heads(shapes)
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
        expected=f"a PixArt transformer, with tensors such as {next(iter(_NEEDED))}",
        advice="Choose a file with a PixArt model.",
    )


def _check_heads(shapes: Shapes) -> None:
    width = shapes["x_embedder.proj.weight"][0]
    if not width or width % HEAD_SIZE:
        raise CheckpointError(
            "This file cannot be loaded as a PixArt model",
            found=f"tokens {width} wide",
            expected=f"a multiple of {HEAD_SIZE}, the size of PixArt's attention heads",
            advice="Choose a file with a PixArt model.",
        )


def _possible(shapes: Shapes) -> tuple[str, ...]:
    has_size = _SIZE_CONDITION in shapes
    tokens = shapes[_NULL_CAPTION][0] if shapes.get(_NULL_CAPTION) else None
    grid = shapes.get("pos_embed", ())
    side = _SIDE_BY_GRID.get(grid[1]) if len(grid) == 3 else None
    fitting = [
        variant
        for variant in VARIANTS.values()
        if variant.size_conditions == has_size and tokens in (None, variant.tokens)
    ]
    if not fitting:
        raise CheckpointError(
            "This PixArt model is of a kind that is not known",
            found=f"a null caption of {tokens} tokens"
            f" {'with' if has_size else 'without'} size conditions",
            expected=f"one of {', '.join(VARIANTS)}",
            advice="Use one of the released models, or a fine-tune of one.",
        )
    # A fine-tune may have a grid that no release has; then its family is all that is known.
    of_this_side = [variant for variant in fitting if variant.sample_size == side]
    return tuple(variant.name for variant in of_this_side or fitting)


def _take_choice(chosen: str, possible: tuple[str, ...]) -> Variant:
    if chosen in possible:
        return VARIANTS[chosen]
    raise CheckpointError(
        f"The file cannot be loaded as {chosen}",
        found=f"tensors that only fit {', '.join(possible)}",
        expected=f"tensors of {chosen}",
        advice=f"Set variant to {AUTO} or to one that fits.",
    )


def _guess(possible: tuple[str, ...], name: str) -> tuple[Variant, Ground]:
    words = PurePath(name.replace("\\", "/")).name.lower()
    named = [variant for variant in possible if _is_named(VARIANTS[variant], words)]
    if len(named) == 1:
        return VARIANTS[named[0]], Ground.NAME
    likeliest = min(named or possible, key=_BY_LIKELIHOOD.index)
    return VARIANTS[likeliest], Ground.LIKELIHOOD


def _is_named(variant: Variant, words: str) -> bool:
    families = [family for family, signs in _FAMILY_SIGNS.items() if any(s in words for s in signs)]
    side = "2k" if variant.sample_size == 2048 else str(variant.sample_size)
    return side in words and (not families or families == [variant.family])


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
        null_caption_tokens=next(iter(shapes.get(_NULL_CAPTION, ())), 0),
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
