"""What a script of the API may get wrong in any node: a value where a link belongs."""

from __future__ import annotations

from functools import cache, wraps
from typing import Any, TypeVar, cast

from comfy_api.latest import io

from ..pixart_core.errors import PixArtError

_VALUES = (int, float, str, bool, type(None))


class LinkError(PixArtError):
    """An input got a value, and takes what another node gives."""


Node = TypeVar("Node", bound=type[io.ComfyNode])


def with_links_checked(kind: Node) -> Node:
    """Look at a node's linked inputs before it runs: the host takes any value there."""
    own: Any = kind
    original = own.__dict__["execute"].__func__

    @wraps(original)
    def execute(cls: Any, **inputs: Any) -> io.NodeOutput:
        # Of the class as it was written: the host runs a new copy of it each time.
        for name, required in _links_of(own).items():
            _check_link(name, inputs.get(name), required)
        given: io.NodeOutput = original(cls, **inputs)
        return given

    own.execute = classmethod(cast(Any, execute))
    return kind


@cache
def _links_of(kind: type[io.ComfyNode]) -> dict[str, bool]:
    """Return the names of the inputs without a widget, and whether each is required."""
    inputs = kind.define_schema().inputs
    return {i.id: not i.optional for i in inputs if not isinstance(i, io.WidgetInput)}


def _check_link(name: str, value: Any, required: bool) -> None:
    # Nodes that take lists of inputs get the value in one.
    first = value[0] if isinstance(value, list) and len(value) == 1 else value
    if _is_written(first) and (first is not None or required):
        raise LinkError(
            f"The input {name} cannot take a value",
            found="nothing" if first is None else f"{first!r:.60}",
            expected='a link to the node that gives it, such as ["1", 0]',
            advice="Connect a node there; one that is connected gives nothing, as a checkpoint "
            "without a text encoder gives no CLIP."
            if first is None
            else "Connect a node there.",
        )


def _is_written(value: Any) -> bool:
    """Tell whether JSON could say it; what nodes give holds tensors or models."""
    if isinstance(value, dict):
        return all(_is_written(part) for part in value.values())
    if isinstance(value, list):
        return all(_is_written(part) for part in value)
    return isinstance(value, _VALUES)
