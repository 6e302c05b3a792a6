"""What a checkpoint is: from its tensors, then its configurations, then its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from ..errors import CheckpointError
from ..network.config import KVCompression, NetworkConfig
from ..variants import VARIANTS, Solver, Variant
from .foreign import Shapes, check_is_pixart
from .hints import Hints
from .layouts import is_diffusers, original_plan, original_shapes

AUTO = "auto"
"""The choice that leaves the variant to detection."""

_BLOCK = re.compile(r"blocks\.(\d+)\.")
_COMPRESSED = re.compile(r"blocks\.(\d+)\.attn\.sr\.weight")
_NULL_CAPTION = "y_embedder.y_embedding"
_SIZE_CONDITION = "ar_embedder.mlp.0.weight"
_QK_NORM = "blocks.0.attn.q_norm.weight"
_SIDE_BY_GRID = {256: 256, 1024: 512, 4096: 1024, 16384: 2048}
_BY_LIKELIHOOD = (
    *("sigma-1024", "alpha-1024", "sigma-512", "alpha-512", "sigma-2k", "sigma-256", "alpha-256"),
    *("alpha-512-ms", "alpha-1024-lcm", "alpha-512-dmd"),
)
_FAMILY_SIGNS = {"sigma": ("sigma", "900m"), "alpha": ("alpha", "pixart-xl", "pixart-lcm")}
"""By what a file's name tells its family; the official alpha files are called PixArt-XL-2-…."""
_USUAL: Solver = "DPM-Solver++"
_SOLVER_SIGNS: dict[Solver, str] = {"LCM": "lcm", "DMD": "dmd"}


class Ground(StrEnum):
    """By what a variant was told, from the surest to the least sure."""

    CHOICE = "your choice"
    TENSORS = "the file's tensors"
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
        advice=f"Set variant to {AUTO} or to one that fits.",
    )


def _tell(possible: tuple[str, ...], hints: Hints, name: str) -> tuple[Variant, Ground]:
    """Narrow down what the tensors allow, and name what settled it.

    Distilled models, whose tensors are those of their teachers, count only where something says
    so: their few steps would spoil any other model.
    """
    words = PurePath(name.replace("\\", "/")).as_posix().lower()
    told, named = _narrowed(possible, hints), _named_in(possible, words)
    noted = VARIANTS[hints.name].solver if hints.name else None
    solver = (
        noted
        or hints.solver
        or next((solver for solver, sign in _SOLVER_SIGNS.items() if sign in words), _USUAL)
    )
    if not any(VARIANTS[v].solver == solver for v in possible):
        solver = _USUAL
    for left, ground in (
        (possible, Ground.TENSORS),
        (told, Ground.CONFIGURATION),
        (tuple(v for v in told if v in named), Ground.NAME),
    ):
        fitting = [v for v in left if VARIANTS[v].solver == solver]
        if len(fitting) == 1:
            distilled = solver != _USUAL and ground is Ground.TENSORS
            by = Ground.CONFIGURATION if noted or hints.solver else Ground.NAME
            return VARIANTS[fitting[0]], by if distilled else ground
    best = [v for v in told if v in named] or told
    fitting = [v for v in best if VARIANTS[v].solver == solver] or list(best)
    return VARIANTS[min(fitting, key=_BY_LIKELIHOOD.index)], Ground.LIKELIHOOD


def _narrowed(possible: tuple[str, ...], hints: Hints) -> tuple[str, ...]:
    """Keep what agrees with the configurations; what would leave nothing is not believed."""
    for fact in ("name", "sample_size", "family"):
        value = getattr(hints, fact)
        agreeing = tuple(v for v in possible if getattr(VARIANTS[v], fact) == value)
        possible = agreeing or possible
    return possible


def _named_in(possible: tuple[str, ...], words: str) -> tuple[str, ...]:
    families = [family for family, signs in _FAMILY_SIGNS.items() if any(s in words for s in signs)]
    return tuple(
        name
        for name in possible
        if _side_sign(VARIANTS[name]) in words
        and (not families or families == [VARIANTS[name].family])
    )


def _side_sign(variant: Variant) -> str:
    return "2k" if variant.sample_size == 2048 else str(variant.sample_size)


def network_of(
    shapes: Shapes, variant: Variant, compression: KVCompression | None = None
) -> NetworkConfig:
    """Read the network's shape from its tensors, and from the variant what they do not show."""
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
        qk_norm=_QK_NORM in shapes,
        kv_compression=_compression(shapes, compression),
    )


def _compression(shapes: Shapes, chosen: KVCompression | None) -> KVCompression | None:
    learned = _learned_compression(shapes)
    if learned and chosen:
        raise CheckpointError(
            f"The file cannot be loaded with the KV compression {chosen.mode}",
            found="tensors of a learned compression",
            expected="no choice, for the file says it itself",
            advice="Leave the KV compression to the file.",
        )
    return learned or chosen


def _learned_compression(shapes: Shapes) -> KVCompression | None:
    layers = sorted(int(found[1]) for key in shapes if (found := _COMPRESSED.fullmatch(key)))
    if not layers:
        return None
    factor = shapes[f"blocks.{layers[0]}.attn.sr.weight"][-1]
    return KVCompression("conv", factor, tuple(layers))
