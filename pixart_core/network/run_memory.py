"""What a transformer need not compute again while one picture is drawn.

A memory lives as long as one run. What it holds is found again only for the very same tensors,
unchanged: of a caption, and of the weights that made it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .acting_weights import WeightsOf, plain_weights
from .blocks import Block, BlockMemory
from .kept_caption import KeptCaption, Shortcuts, row_groups
from .modulation import SharedModulation, norm_dtype, shared_modulations
from .once import Once, version_of
from .positions import position_grid

if TYPE_CHECKING:
    from .transformer import PixArtTransformer

_MOST_CAPTIONS = 6
_MOST_SIZES = 4


@dataclass(frozen=True)
class SharedTime:
    """Timestep and size that all rows of a batch share, embedded; one row each."""

    time: Tensor
    """(1, C)."""
    modulation: Tensor
    """(1, 6, C)."""
    blocks: list[SharedModulation]
    final: tuple[Tensor, Tensor]
    """Shift and scale of the final layer, the latter with its 1."""


class RunMemory:
    """Holds for each transformer of a run what it need not compute again.

    Nothing is held where gradients are wanted or a compiler looks on.
    """

    def __init__(
        self, shortcuts: Shortcuts | None = None, weights_of: WeightsOf = plain_weights
    ) -> None:
        self.shortcuts = shortcuts or Shortcuts()
        self._weights_of = weights_of
        self._networks: list[NetworkMemory] = []
        self._once = Once()

    def of(self, network: PixArtTransformer) -> NetworkMemory | None:
        """Return the memory of one transformer, None where it may not be used now."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return None
        # Another node may have put something of its own in a block's place.
        if not all(isinstance(block, Block) for block in network.blocks):
            return None
        for known in self._networks:
            if known.network is network:
                break
        else:
            known = NetworkMemory(network, self.shortcuts, self._weights_of)
            self._networks.append(known)
        known.forget_if_changed()
        return known

    def moved(
        self, tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Return a tensor on a device and in a dtype; the same one for the same in every step."""
        target = dtype or tensor.dtype
        if tensor.device == device and tensor.dtype == target:
            return tensor
        return self._once((device, target), [tensor], lambda: tensor.to(device, target))

    def clear(self) -> None:
        """Let go of everything, as at the end of a run."""
        self._networks.clear()
        self._once = Once()


class NetworkMemory:
    """What one transformer need not compute again."""

    def __init__(
        self, network: PixArtTransformer, shortcuts: Shortcuts, weights_of: WeightsOf
    ) -> None:
        self.network = network
        self.shortcuts = shortcuts
        self._weights_of = weights_of
        self._blocks: list[nn.Module] = []
        self._layers: list[nn.Module] = []
        self._weights: list[Tensor] = []
        self._versions: list[int] = []
        self._forget()

    def mlp_weights(self, device: torch.device) -> WeightsOf | None:
        """Return where an MLP may take its weights to do in one call what are two layers."""
        return self._weights_of if self.shortcuts.gelu and device.type == "cpu" else None

    def forget_if_changed(self) -> None:
        """Let go of what was computed with weights that are others now."""
        if not _same(self._blocks, self.network.blocks):
            self._blocks, self._layers = list(self.network.blocks), _layers(self.network)
        weights: list[Tensor] = [
            p for layer in self._layers for p in layer._parameters.values() if p is not None
        ]
        versions = [_version(weight) for weight in weights]
        if versions != self._versions or not _same(weights, self._weights):
            self._forget()
            self._weights, self._versions = weights, versions

    def _forget(self) -> None:
        self._captions: list[tuple[_Contents, KeptCaption]] = []
        self._grids: dict[Any, Tensor] = {}
        self._tables: Tensor | None = None
        self._time: tuple[Any, SharedTime] | None = None
        self._sizes: tuple[_Contents, tuple[float, ...] | None] | None = None

    def caption(
        self, context: Tensor, mask: Tensor | None, dtype: torch.dtype
    ) -> KeptCaption | None:
        """Return what is kept of a batch of captions, (B, L, channels) with its mask (B, L)."""
        if not self.shortcuts.captions:
            return None
        for place, (known, kept) in enumerate(self._captions):
            if kept.tokens.dtype == dtype and known.are(context, mask):
                self._captions.append(self._captions.pop(place))
                kept.uses += 1
                return kept
        tokens = self.network.y_embedder(context.to(dtype))
        groups = row_groups(context, mask)
        kept = KeptCaption(tokens, mask, groups, self.shortcuts, self._weights_of)
        kept.uses = 1
        self._captions = [*self._captions[1 - _MOST_CAPTIONS :], (_Contents(context, mask), kept)]
        return kept

    def positions(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """Return the position grid of a size, (rows * columns, C) fp32."""
        key, config = (rows, columns, device), self.network.config
        if key not in self._grids or not self.shortcuts.positions:
            if len(self._grids) >= _MOST_SIZES:
                self._grids.clear()
            self._grids[key] = position_grid(
                *(rows, columns, config.hidden_size, config.position_range, device)
            )
        return self._grids[key]

    def shared_time(self, t: Tensor, size: Tensor | None, dtype: torch.dtype) -> SharedTime | None:
        """Return what timesteps (B,) and sizes (B, 2) become; None where rows differ.

        It waits for the device.
        """
        if not self.shortcuts.modulation:
            return None
        network, values = self.network, set(t.tolist())
        sides = self._shared_size(size) if network.config.size_conditions else ()
        if len(values) != 1 or sides is None:
            return None
        key = (values, sides, dtype, t.device)
        if self._time is None or self._time[0] != key:
            one_size = size[:1] if sides and size is not None else None
            self._time = key, self._embedded(network.condition(t[:1], one_size, dtype), dtype)
        return self._time[1]

    def _shared_size(self, size: Tensor | None) -> tuple[float, ...] | None:
        if size is None:
            return None
        if self._sizes is None or not self._sizes[0].are(size):
            sizes = {tuple(sides) for sides in size.tolist()}
            self._sizes = _Contents(size), sizes.pop() if len(sizes) == 1 else None
        return self._sizes[1]

    def _embedded(self, time: Tensor, dtype: torch.dtype) -> SharedTime:
        network = self.network
        if self._tables is None:
            tables = [block.get_parameter("scale_shift_table") for block in network.blocks]
            self._tables = torch.stack([t.to(time.device, torch.float32) for t in tables])
        modulation = network.t_block(time).unflatten(-1, (6, -1))  # 1 6 C
        blocks = shared_modulations(self._tables, modulation, dtype)
        final = network.final_layer.scale_shift_table.to(time.device, torch.float32) + time.float()
        shift, scale = (part.to(norm_dtype(time, dtype)) for part in (final[0], final[1] + 1))
        return SharedTime(time, modulation, blocks, (shift, scale))


def block_memories(
    network: PixArtTransformer,
    shared: SharedTime | None,
    caption: KeptCaption | None,
    bias: Tensor | None,
    mlp_weights: WeightsOf | None,
    *,
    together: bool,
) -> list[BlockMemory]:
    """Return what each block need not compute, an empty list where that is nothing.

    ``bias``: the additive mask (B, 1, N, L); ``together`` as `KeptCaption.cross` has it;
    ``mlp_weights`` as `NetworkMemory` has it.
    """
    if shared is None and caption is None and mlp_weights is None:
        return []
    found = []
    for index, block in enumerate(network.blocks):
        assert isinstance(block, Block)
        cross = None
        if caption is not None:
            cross = caption.cross(index, block.cross_attn, bias, together)
        modulation = None if shared is None else shared.blocks[index]
        found.append(BlockMemory(modulation, cross, mlp_weights))
    return found


def _same(some: Iterable[object], others: Iterable[object]) -> bool:
    return all(a is b for a, b in zip_longest(some, others))


class _Contents:
    """Tensors as they were, to be told from others and from themselves once changed."""

    def __init__(self, *tensors: Tensor | None) -> None:
        self._tensors = tensors
        self._versions = [_version(tensor) for tensor in tensors]
        # Inference tensors do not count their changes; where it is cheap their numbers tell.
        self._copies = [t.clone() if t is not None and t.is_cpu else None for t in tensors]

    def are(self, *tensors: Tensor | None) -> bool:
        """Whether these are the same tensors, or on a processor others of the same numbers."""
        kept = zip(self._tensors, self._versions, self._copies, tensors, strict=True)
        return all(
            (known is given and version == _version(given) != -1) or _are_equal(copy, given)
            for known, version, copy, given in kept
        )


def _are_equal(copy: Tensor | None, given: Tensor | None) -> bool:
    if copy is None or given is None or not given.is_cpu or copy.dtype != given.dtype:
        return False
    return torch.equal(copy, given)


def _version(tensor: Tensor | None) -> int:
    return 0 if tensor is None else version_of(tensor)


def _layers(network: PixArtTransformer) -> list[nn.Module]:
    """Return the layers whose results are kept, for more than one step or for one."""
    parts = [network.y_embedder, network.t_embedder, network.t_block, network.final_layer]
    if network.config.size_conditions:
        parts += [network.csize_embedder, network.ar_embedder]
    layers = [layer for part in parts for layer in part.modules()]
    for block in network.blocks:
        assert isinstance(block, Block)
        cross = block.cross_attn
        layers += [cross.q_linear, cross.kv_linear, cross.proj, block]
    return layers
