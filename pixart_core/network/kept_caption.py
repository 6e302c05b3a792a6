"""What cross-attention to one caption needs in every step, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .acting_weights import Weights, WeightsOf, lent
from .attention import CrossAttention

_MOST_GROUPS = 4


@dataclass(frozen=True)
class Shortcuts:
    """Which shorter ways to the same numbers are taken."""

    captions: bool = True
    """Captions are projected, to tokens and to keys and values, once."""
    trims: bool = True
    """Rows attend to their real tokens alone, without a mask."""
    constants: bool = True
    """What a caption of one token adds is the same for every image token."""
    folds: bool = True
    """Short captions are folded into the projections around their attention."""
    modulation: bool = True
    """Norm and modulation are one where all rows share timestep and size."""
    positions: bool = True
    """The position grid of a size is made once."""
    matmul: bool = True
    """The faster of torch's libraries multiplies fp32 on a processor."""
    kernel: bool = True
    """The faster attention for heads of 72 is taken."""
    gelu: bool = True
    """A processor's library computes the GELU where it multiplies."""


@dataclass(frozen=True)
class RowGroup:
    """Neighbouring rows of a batch whose captions have as many real tokens."""

    rows: slice
    length: int
    is_one_caption: bool
    """Whether all the rows have the same."""


def row_groups(context: Tensor, mask: Tensor | None) -> tuple[RowGroup, ...] | None:
    """Group rows of captions (B, L, C) by their real tokens, positive in the mask (B, L).

    None where real tokens do not stand in front, where a row has none, and for many groups. It
    waits for the device.
    """
    rows, longest = context.shape[:2]
    lengths = [longest] * rows
    if mask is not None:
        real = (mask > 0).cpu()
        lengths = real.sum(1).tolist()
        if not torch.equal(real, torch.arange(longest) < real.sum(1, keepdim=True)):
            return None
    groups, start = [], 0
    for length, members in groupby(lengths):
        end = start + len(list(members))
        own = context[start:end, :length]
        groups.append(RowGroup(slice(start, end), length, torch.equal(own, own[:1].expand_as(own))))
        start = end
    return tuple(groups) if min(lengths) and len(groups) <= _MOST_GROUPS else None


@dataclass(frozen=True)
class Constant:
    """A caption of one token: its attention is 1, whatever the picture."""

    value: Tensor
    """(b, 1, C)."""

    def out(self, x: Tensor, layer: CrossAttention, options: Mapping[str, Any]) -> Tensor:
        """Return what is added to tokens (b, N, C); it broadcasts."""
        return self.value


@dataclass(frozen=True)
class KeysValues:
    """Keys and values of a caption, (b, L, C) each, and its mask where it has one."""

    keys: Tensor
    values: Tensor
    mask: Tensor | None = None

    def out(self, x: Tensor, layer: CrossAttention, options: Mapping[str, Any]) -> Tensor:
        """Return what is added to tokens (b, N, C), of the same shape."""
        return layer.attend(x, self.keys, self.values, self.mask, options)


@dataclass(frozen=True)
class Folded:
    """A short caption multiplied into the projections before and after its attention."""

    scores: Tensor
    """(heads * L, C)."""
    scores_bias: Tensor
    """(heads * L,)."""
    mix: Tensor
    """(C, heads * L)."""
    mix_bias: Tensor
    """(C,)."""

    def out(self, x: Tensor, layer: CrossAttention, options: Mapping[str, Any]) -> Tensor:
        """Return what is added to tokens (b, N, C), of the same shape."""
        scores = functional.linear(x, self.scores, self.scores_bias)
        shares = scores.unflatten(-1, (layer.heads, -1)).softmax(-1).flatten(-2)
        return functional.linear(shares, self.mix, self.mix_bias)


@dataclass(frozen=True)
class KeptCross:
    """Cross-attention of one block: what each group of rows attends to."""

    parts: tuple[tuple[slice, Constant | KeysValues | Folded], ...]

    def add_to(self, x: Tensor, layer: CrossAttention, options: Mapping[str, Any]) -> Tensor:
        """Add to tokens (B, N, C), in place."""
        for rows, part in self.parts:
            own = x[rows]
            own += part.out(own, layer, options)
        return x


def folds(length: int, heads: int, hidden_size: int) -> bool:
    """Whether folding saves work: 4 H L C instead of 4 C C + 4 L C for each image token."""
    return length * (heads - 1) < hidden_size


@torch.no_grad()
def folded(
    layer: CrossAttention, keys: Tensor, values: Tensor, weights_of: WeightsOf
) -> Folded | None:
    """Fold keys and values (L, C) of a caption in fp32; the result has their dtype.

    None where another node changes what the projections do.
    """
    k, v = (t.float().unflatten(-1, (layer.heads, -1)) for t in (keys, values))  # L H D
    with lent(layer.q_linear, keys, weights_of) as found:
        before = found and _scores(k * k.shape[-1] ** -0.5, found)
    with lent(layer.proj, keys, weights_of) as found:
        after = found and _mix(v, found)
    if before is None or after is None:
        return None
    return Folded(*(part.to(keys.dtype).contiguous() for part in (*before, *after)))


def _scores(k: Tensor, queries: Weights) -> Weights:
    """Multiply scaled keys (L, H, D) into the projection of the queries."""
    weight, bias = (t.float().unflatten(0, (k.shape[1], -1)) for t in queries)
    scores = torch.einsum("lhd,hdc->hlc", k, weight).flatten(0, 1)
    return scores, torch.einsum("lhd,hd->hl", k, bias).flatten()


def _mix(v: Tensor, outs: Weights) -> Weights:
    """Multiply values (L, H, D) into the projection of what was attended to."""
    weight, bias = (t.float() for t in outs)
    mix = torch.einsum("chd,lhd->chl", weight.unflatten(1, (v.shape[1], -1)), v)
    # A copy, since what is lent is given back.
    return mix.flatten(1), bias.clone()


class KeptCaption:
    """A batch of captions and what every block makes of it, each when it is first needed."""

    def __init__(
        self,
        tokens: Tensor,
        mask: Tensor | None,
        groups: tuple[RowGroup, ...] | None,
        shortcuts: Shortcuts,
        weights_of: WeightsOf,
    ) -> None:
        self.tokens = tokens
        """After the caption projection, (B, L, C)."""
        self.mask = mask
        """(B, L), for a mask that spans the picture."""
        self.uses = 0
        self._groups = groups
        self._shortcuts = shortcuts
        self._weights_of = weights_of
        self._whole: dict[int, tuple[Tensor, Tensor]] = {}
        self._parts: dict[tuple[int, int], Constant | KeysValues | Folded] = {}

    def cross(
        self, index: int, layer: CrossAttention, bias: Tensor | None, together: bool
    ) -> KeptCross:
        """Return what block ``index`` needs.

        ``bias``: the additive mask (B, 1, N, L). ``together``: all rows attend in one call, as
        those expect it who change what comes out.
        """
        if together or self._groups is None or not self._shortcuts.trims:
            keys, values = self._keys_values(index, layer)
            return KeptCross(((slice(None), KeysValues(keys, values, bias)),))
        parts = tuple(
            (group.rows, self._part(index, place, group, layer))
            for place, group in enumerate(self._groups)
        )
        if all((index, place) in self._parts for place in range(len(parts))):
            self._whole.pop(index, None)
        return KeptCross(parts)

    def _keys_values(self, index: int, layer: CrossAttention) -> tuple[Tensor, Tensor]:
        if index not in self._whole:
            self._whole[index] = layer.keys_values(self.tokens)
        return self._whole[index]

    def _part(
        self, index: int, place: int, group: RowGroup, layer: CrossAttention
    ) -> Constant | KeysValues | Folded:
        found = self._parts.get((index, place))
        if found is None:
            keys, values = (t[group.rows, : group.length] for t in self._keys_values(index, layer))
            found = self._new_part(group, layer, keys, values)
            # Folding pays only for a caption that comes again.
            if not isinstance(found, KeysValues) or self.uses > 1:
                self._parts[index, place] = found
        return found

    def _new_part(
        self, group: RowGroup, layer: CrossAttention, keys: Tensor, values: Tensor
    ) -> Constant | KeysValues | Folded:
        if group.length == 1 and self._shortcuts.constants:
            return Constant(layer.proj(values))
        may_fold = self._shortcuts.folds and group.is_one_caption and self.uses > 1
        if may_fold and folds(group.length, layer.heads, keys.shape[-1]):
            found = folded(layer, keys[0], values[0], self._weights_of)
            if found is not None:
                return found
        return KeysValues(keys.contiguous(), values.contiguous())
