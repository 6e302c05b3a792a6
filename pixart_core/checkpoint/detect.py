"""What a checkpoint is: from its tensors, then its configurations, then its name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ..errors import CheckpointError
from ..network.config import KVCompression, NetworkConfig
from ..variants import VARIANTS, Solver, Variant
from .foreign import Shapes, check_is_pixart
from .hints import Hints
from .layouts import is_diffusers, original_plan, original_shapes
from .signs import read_signs

AUTO = "auto"
"""The choice that leaves the variant to detection."""

_BLOCK = re.compile(r"blocks\.(\d{1,18})\.")
_COMPRESSED = re.compile(r"blocks\.(\d{1,18})\.attn\.sr\.weight")
_NULL_CAPTION = "y_embedder.y_embedding"
_SIZE_CONDITION = "ar_embedder.mlp.0.weight"
_QK_NORM = "blocks.0.attn.q_norm.weight"
_SIDE_BY_GRID = {256: 256, 1024: 512, 4096: 1024, 16384: 2048}
_BY_LIKELIHOOD = (
    *("sigma-1024", "alpha-1024", "sigma-512", "alpha-512", "sigma-2k", "sigma-256", "alpha-256"),
    *("alpha-512-ms", "alpha-1024-lcm", "alpha-512-dmd"),
)
_USUAL: Solver = "DPM-Solver++"
_MOST_BLOCKS = 200


class Ground(StrEnum):
    """By what a variant was told, from the surest to the least sure."""

    CHOICE = "your choice"
    TENSORS = "the file's tensors"
    NOTE = "the note in the file"
    CONFIGURATION = "the configuration beside it"
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

    @property
    def is_guess(self) -> bool:
        """Whether nothing but likelihood spoke for the variant."""
        return self.ground is Ground.LIKELIHOOD


def detect(
    shapes: Shapes,
    name: str = "",
    chosen: str = AUTO,
    hints: Hints | None = None,
    compression: KVCompression | None = None,
) -> CheckpointInfo:
    """Tell a PixArt checkpoint by the names and shapes of its tensors, in either layout.

    Where tensors leave several variants, ``hints`` decide, then the file's ``name``, then
    likelihood; a ``chosen`` variant is taken if the tensors allow it. ``compression`` of keys and
    values must be given where the tensors do not show it. Raises CheckpointError for a file that
    is no PixArt model, and for a choice that its tensors rule out.
    """
    if is_diffusers(shapes):
        shapes = original_shapes(shapes, original_plan(shapes))
    check_is_pixart(shapes)
    possible = _possible(shapes)
    if chosen != AUTO:
        variant, ground = _take_choice(chosen, possible), Ground.CHOICE
    else:
        variant, ground = _tell(possible, hints or Hints(), name)
    return CheckpointInfo(network_of(shapes, variant, compression), variant, ground, possible)


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
        advice=f"Set Variant to {AUTO} or to one that fits.",
    )


def _tell(possible: tuple[str, ...], hints: Hints, name: str) -> tuple[Variant, Ground]:
    """Narrow down what the tensors allow, and name what settled it.

    Distilled models, whose tensors are those of their teachers, count only where something says
    so: their few steps would spoil any other model.
    """
    signs = read_signs(name)
    if not hints.is_family_sure and signs.family not in (None, hints.family):
        hints = replace(hints, family=None)
    if hints.name in possible:
        return VARIANTS[hints.name], Ground.NOTE
    told = _narrowed(possible, sample_size=hints.sample_size, family=hints.family)
    named = _narrowed(told, family=signs.family, sample_size=signs.side)
    for left, solver, ground in (
        (possible, _USUAL, Ground.TENSORS),
        (told, hints.solver or _USUAL, Ground.CONFIGURATION),
        (named, hints.solver or signs.solver or _USUAL, Ground.NAME),
    ):
        fitting = _narrowed(left, solver=solver)
        distilled = (hints.solver or signs.solver or _USUAL) != solver
        if len(fitting) == 1 and not (distilled and _has(named, hints.solver or signs.solver)):
            return VARIANTS[fitting[0]], ground
    best = _narrowed(named, solver=hints.solver or signs.solver or _USUAL)
    likeliest = min(best, key=_BY_LIKELIHOOD.index)
    return VARIANTS[likeliest], Ground.LIKELIHOOD


def _has(names: tuple[str, ...], solver: Solver | None) -> bool:
    return any(VARIANTS[name].solver == solver for name in names)


def _narrowed(possible: tuple[str, ...], **facts: Any) -> tuple[str, ...]:
    """Keep what has all these facts, None being none; what would leave nothing is not believed."""
    for fact, value in facts.items():
        if value is not None:
            agreeing = tuple(v for v in possible if getattr(VARIANTS[v], fact) == value)
            possible = agreeing or possible
    return possible


def network_of(
    shapes: Shapes, variant: Variant, compression: KVCompression | None = None
) -> NetworkConfig:
    """Read the network's shape from its tensors, and from the variant what they do not show."""
    hidden, in_channels, patch, _ = shapes["x_embedder.proj.weight"]
    depth = 1 + max(int(found[1]) for key in shapes if (found := _BLOCK.match(key)))
    if depth > _MOST_BLOCKS or not patch:
        raise CheckpointError(
            "This file cannot be loaded as a PixArt model",
            found=f"{depth} blocks and patches of {patch}",
            expected=f"at most {_MOST_BLOCKS} blocks, as PixArt has 28 or 42, and patches of 2",
            advice="Choose a file with a PixArt model.",
        )
    return NetworkConfig(
        depth=depth,
        hidden_size=hidden,
        mlp_size=shapes["blocks.0.mlp.fc1.weight"][0],
        in_channels=in_channels,
        out_channels=shapes["final_layer.linear.weight"][0] // patch**2,
        patch_size=patch,
        caption_channels=shapes["y_embedder.y_proj.fc1.weight"][1],
        position_range=variant.position_range,
        size_conditions=_SIZE_CONDITION in shapes,
        null_caption_tokens=next(iter(shapes.get(_NULL_CAPTION, ())), 0),
        qk_norm=_QK_NORM in shapes,
        kv_compression=_compression(shapes, depth, compression),
    )


def _compression(shapes: Shapes, depth: int, chosen: KVCompression | None) -> KVCompression | None:
    layers = sorted(int(found[1]) for key in shapes if (found := _COMPRESSED.fullmatch(key)))
    if chosen is None:
        if not layers:
            return None
        kernel = shapes[f"blocks.{layers[0]}.attn.sr.weight"]
        return KVCompression("conv", max(kernel[-1:] or (1,)), tuple(layers))
    if layers:
        raise CheckpointError(
            f"The file cannot be loaded with the KV compression {chosen.mode}",
            found="tensors of a learned compression",
            expected="no choice, for the file says it itself",
            advice="Leave the KV compression to the file.",
        )
    reached = tuple(layer for layer in chosen.layers if layer < depth)
    if not reached:
        raise CheckpointError(
            f"The file cannot be loaded with the KV compression {chosen.mode}",
            found=f"block {min(chosen.layers)} as the first that compresses",
            expected=f"one of the model's {depth} blocks, counted from 0",
            advice="Set First KV block as in the training configuration.",
        )
    return KVCompression(chosen.mode, chosen.factor, reached)
