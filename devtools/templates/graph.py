"""A template as a graph of nodes, and its form for the API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .files import ModelFile


class Link(NamedTuple):
    """One output of a node."""

    node: Node
    slot: int


@dataclass
class Node:
    """A node: its inputs are values, files or links."""

    number: int
    kind: str
    title: str
    inputs: dict[str, Any]
    files: tuple[ModelFile, ...] = ()
    """Model files that its inputs name."""

    def __getitem__(self, slot: int) -> Link:
        return Link(self, slot)


@dataclass(frozen=True)
class App:
    """What of a graph the host's app mode shows."""

    inputs: tuple[tuple[Node, str], ...]
    """Widgets, by node and name."""
    outputs: tuple[Node, ...]
    """Nodes whose pictures make the gallery."""


@dataclass
class Template:
    """A graph with what the template browser and the reader of the graph are told."""

    name: str
    """Name of its files."""
    note: str
    """Markdown, shown beside the graph."""
    nodes: list[Node] = field(default_factory=list)
    app: App | None = None
    """Set where it opens as an app."""

    def add(self, kind: str, title: Any = "", **inputs: Any) -> Node:
        """Add a node; an input may be a value, a `ModelFile`, or a link as in ``node[0]``."""
        files = tuple(value for value in inputs.values() if isinstance(value, ModelFile))
        plain = {n: v.name if isinstance(v, ModelFile) else v for n, v in inputs.items()}
        node = Node(len(self.nodes) + 1, kind, title, plain, files)
        self.nodes.append(node)
        return node

    def api(self) -> dict[str, dict[str, Any]]:
        """Return the graph as ``POST /prompt`` takes it."""
        return {
            str(node.number): {
                "class_type": node.kind,
                "inputs": {name: _plain(value) for name, value in node.inputs.items()},
                "_meta": {"title": node.title or node.kind},
            }
            for node in self.nodes
        }


def _plain(value: Any) -> Any:
    return [str(value.node.number), value.slot] if isinstance(value, Link) else value
