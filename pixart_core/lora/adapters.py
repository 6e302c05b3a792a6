"""From what a file holds to what the host's adapters compute with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import CheckpointError
from .fitting import check_fit, difference, is_by_columns
from .reading import Adapter
from .settings import PEFT_ALPHA, LoraSettings

Base = Callable[[Adapter], Tensor]
"""Gives the weight that an adapter is for, fp32."""


@dataclass(frozen=True)
class Alpha:
    """A scale, and where it was found."""

    value: float
    source: str


def alpha_of(adapter: Adapter, settings: LoraSettings, chosen: float) -> Alpha:
    """Return the alpha of an adapter; ``chosen`` by the user where it is above 0."""
    if chosen > 0:
        return Alpha(chosen, "set by you")
    if "alpha" in adapter.parts and adapter.parts["alpha"].numel():
        return Alpha(float(adapter.parts["alpha"].float().mean()), "the file")
    configured = settings.alpha_of(adapter.module)
    if configured is not None:
        return Alpha(configured, settings.source)
    return Alpha(PEFT_ALPHA, "nothing: PEFT's default")


def host_parts(
    adapter: Adapter, alpha: Alpha, settings: LoraSettings, base: Base
) -> dict[str, Tensor]:
    """Return tensors by the ends of the names under which the host looks for them.

    What the host cannot compute as it was trained (DoRA by rows, OFT of the inputs, LoKr without
    a rank) is put into the tensors. Raises CheckpointError where they do not fit the weight.
    """
    parts = adapter.parts
    if "oft_r" in parts:
        return {"diff": _rotated(adapter, settings, base(adapter))}
    scale = alpha.value
    if settings.rank_stabilized and adapter.rank:
        scale *= adapter.rank**0.5
    out = {_HOST[part]: tensor for part, tensor in parts.items() if part in _HOST}
    if adapter.kind == "LoKr" and adapter.rank is None and settings.rank:
        # Without a rank in its tensors the host takes the scale for 1.
        out["lokr_w1"] = out["lokr_w1"] * (scale / settings.rank)
    elif adapter.kind not in _UNSCALED or "alpha" in parts:
        out["alpha"] = torch.tensor(scale)
    check_fit(adapter)
    magnitude = parts.get("magnitude")
    if magnitude is not None:
        out["dora_scale"] = _row_magnitude(adapter, magnitude, scale, base)
    return out


_UNSCALED = ("OFT", "difference")
"""Kinds in which alpha, if there is one, is no scale."""

_HOST = {
    "up": "lora_up.weight",
    "down": "lora_down.weight",
    "mid": "lora_mid.weight",
    **{
        part: part
        for part in (
            *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
            *("lokr_w1", "lokr_w2", "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
            *("oft_blocks", "rescale", "diff"),
        )
    },
}


def _row_magnitude(adapter: Adapter, magnitude: Tensor, scale: float, base: Base) -> Tensor:
    """Return a magnitude with which the host's DoRA is the published one.

    By rows the host divides by the length of the old weight instead of the new one.
    """
    rows = adapter.target.shape[0]
    # By columns the host computes as LyCORIS does; also where the weight is square.
    if is_by_columns(magnitude) or magnitude.numel() != rows:
        return magnitude
    column = magnitude.float().reshape(rows, *[1] * (len(adapter.target.shape) - 1))
    change = difference(adapter)
    if change is None:
        return column
    old = base(adapter).flatten(1)
    new = old + change * (scale / adapter.rank if adapter.rank else 1.0)
    return column * (old.norm(dim=1) / new.norm(dim=1)).reshape(column.shape)


def _rotated(adapter: Adapter, settings: LoraSettings, weight: Tensor) -> Tensor:
    """Return how PEFT's OFT changes a weight: its inputs turned, block by block."""
    vectors = adapter.parts["oft_r"].float()
    columns = weight[0].numel()
    numbers = vectors.shape[-1] if vectors.ndim else 0
    size = round((1 + (1 + 8 * numbers) ** 0.5) / 2)
    blocks = columns // size
    if vectors.ndim != 2 or size * blocks != columns or len(vectors) not in (1, blocks):
        raise _no_turns(adapter, f"a part of shape {tuple(vectors.shape)}", columns)
    turns = torch.block_diag(*_turns(vectors, size, settings).expand(blocks, size, size))
    if not torch.isfinite(turns).all():
        raise _no_turns(adapter, "numbers from which no rotation can be computed", columns)
    return (weight.flatten(1) @ turns.T - weight.flatten(1)).reshape(weight.shape)


def _no_turns(adapter: Adapter, found: str, columns: int) -> CheckpointError:
    return CheckpointError(
        f"The OFT adapter does not fit {adapter.module}",
        found=found,
        expected=f"blocks that add up to {columns}, of finite rotations",
        advice="Choose one that was trained with a current PEFT for this model.",
    )


def _turns(vectors: Tensor, size: int, settings: LoraSettings) -> Tensor:
    """Return rotations (B, size, size) by Cayley's formula, or its series as PEFT cuts it.

    They are not finite where the numbers are too large for it.
    """
    skew = vectors.new_zeros(len(vectors), size, size)
    above = torch.triu_indices(size, size, 1)
    skew[:, above[0], above[1]] = vectors
    skew = skew - skew.transpose(1, 2)
    one = torch.eye(size).expand_as(skew)
    if settings.neumann_terms is None:
        # Without an error for what cannot be solved.
        turns: Tensor = torch.linalg.solve_ex(one + skew, one - skew, left=False).result
        return turns
    return _cayley_series(skew, settings.neumann_terms)


def _cayley_series(skew: Tensor, terms: int) -> Tensor:
    """Return the series of Cayley's formula as PEFT adds it up, odd as it is for few terms."""
    total = torch.eye(skew.shape[-1]).expand_as(skew)
    if terms == 1:
        return total
    total = total + 2 * skew
    if terms == 2:
        return total
    power = skew @ skew
    total = total + 2 * power
    for _ in range(3, terms - 1):
        power = power @ skew
        total = total + 2 * power
    return total + power @ skew
