"""One run of a model, from a guider's start to its end, and what is kept for as long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import comfy.ops
import comfy.patcher_extension
from torch import Tensor, nn

from ...pixart_core.network.acting_weights import Weights
from ...pixart_core.network.kept_caption import Shortcuts
from ...pixart_core.network.run_memory import RunMemory

MEMORY = "pixart_memory"
"""Where a run's memory lies in ``transformer_options``."""
SHORTCUTS = "pixart_shortcuts"
"""Where measurements put the `Shortcuts` that a run may take."""

_KEY = "pixart"
_ALL = Shortcuts()


def keep_in_runs(patcher: Any) -> None:
    """Give each run of a MODEL and of its clones a memory of its own."""
    patcher.add_wrapper_with_key(
        comfy.patcher_extension.WrappersMP.OUTER_SAMPLE, _KEY, _with_memory
    )


def _with_memory(executor: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Sample with a memory; without one where hooks change the weights from step to step."""
    guider = executor.class_obj
    if any("hooks" in cond for conds in guider.conds.values() for cond in conds or ()):
        return executor(*args, **kwargs)
    options = guider.model_options.setdefault("transformer_options", {})
    memory = RunMemory(shortcuts_of(options), acting_weights)
    options[MEMORY] = memory
    try:
        return executor(*args, **kwargs)
    finally:
        options.pop(MEMORY, None)
        memory.clear()


def shortcuts_of(options: Mapping[str, Any]) -> Shortcuts:
    """Return the shortcuts that a run may take: all, where no measurement says otherwise."""
    return options.get(SHORTCUTS, _ALL)


def memory_of(options: Mapping[str, Any]) -> RunMemory | None:
    """Return the memory of the run under way, None where there is none."""
    return options.get(MEMORY)


@contextmanager
def acting_weights(layer: nn.Module, like: Tensor) -> Iterator[Weights | None]:
    """Lend weight and bias of a layer with all that the host does to them before they act."""
    if not isinstance(layer, comfy.ops.CastWeightBiasOp):
        yield None
        return
    # As its own layers do: what it has brought to a card for this may go again.
    weight, bias, place = comfy.ops.cast_bias_weight(layer, like, offloadable=True)
    try:
        yield None if bias is None else (weight, bias)
    finally:
        comfy.ops.uncast_bias_weight(layer, weight, bias, place)
