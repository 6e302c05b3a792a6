"""A workflow in API form, and the names under which a row may set its inputs."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixart_fleet.errors import FleetError

Graph = dict[str, dict[str, Any]]
"""Node id -> {"class_type": ..., "inputs": {...}}, as ``POST /prompt`` takes it."""

Place = tuple[str, str]
"""Node id and name of an input."""

Values = Mapping[Place, Any]
"""What a row sets, where it differs from the workflow."""

PROMPTS = {"prompt": "positive", "negative": "negative"}
"""Columns that name a text by the sampler's input which it feeds."""

_TEXTS = ("text", "texts")
_FRACTIONS = {
    *("guidance", "cfg", "denoise", "strength", "strength_model", "strength_clip", "alpha"),
    *("start_percent", "end_percent", "scale_by", "eta", "s_noise"),
}
"""Inputs that take fractions, though the editor writes 5.0 as 5."""


@dataclass(frozen=True)
class Workflow:
    """A graph, the digest of its content, and its columns: name -> place."""

    graph: Graph
    digest: str
    columns: Mapping[str, Place]
    ambiguous: Mapping[str, tuple[str, ...]]
    """Short names that more than one node has, with their full names."""

    def place(self, column: str) -> Place | None:
        """Return where a column belongs, or None where the workflow has no such input."""
        return self.columns.get(column)

    def value(self, place: Place) -> Any:
        """Return the workflow's own value of an input."""
        return self.graph[place[0]]["inputs"][place[1]]

    def kind(self, place: Place) -> type:
        """Return the type of an input's values."""
        kind = type(self.value(place))
        return float if kind is int and place[1] in _FRACTIONS else kind

    def differing(self, values: Values) -> dict[Place, Any]:
        """Return those values that are not the workflow's own."""
        return {place: value for place, value in values.items() if value != self.value(place)}

    def with_values(self, values: Values) -> Graph:
        """Return the graph with some inputs set; the workflow stays as it is."""
        graph = copy.deepcopy(self.graph)
        for (node, name), value in values.items():
            graph[node]["inputs"][name] = value
        return graph


def read_workflow(path: Path) -> Workflow:
    """Read a workflow. Raises FleetError for a file that is none in API form."""
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _unfit(path, str(error)) from error
    return make_workflow(graph, path)


def make_workflow(graph: Any, path: Path) -> Workflow:
    """Return the workflow of a graph that was read from ``path``."""
    if isinstance(graph, dict) and isinstance(graph.get("nodes"), list):
        raise _unfit(path, "the editor's form of a workflow")
    if not isinstance(graph, dict) or not graph:
        raise _unfit(path, "no nodes")
    for node in graph.values():
        if not (
            isinstance(node, dict)
            and isinstance(node.get("class_type"), str)
            and isinstance(node.get("inputs"), dict)
        ):
            raise _unfit(path, "a node without class_type or inputs")
    columns, ambiguous = _columns(graph)
    content = json.dumps(graph, sort_keys=True, ensure_ascii=False)
    return Workflow(graph, hashlib.sha256(content.encode()).hexdigest(), columns, ambiguous)


def is_link(value: Any) -> bool:
    """Tell whether an input's value is an output of another node."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def full_name(place: Place) -> str:
    """Return ``node.input``."""
    return ".".join(place)


def prompt_place(graph: Graph, side: str) -> Place | None:
    """Return the text that feeds ``side`` (positive or negative) of the only sampler, if it is one.

    Conditioning nodes in between are followed by their first conditioning.
    """
    samplers = [
        node for node in graph.values() if {"positive", "negative"} <= node["inputs"].keys()
    ]
    found = {_text_before(graph, node["inputs"][side], side) for node in samplers} - {None}
    return found.pop() if len(found) == 1 else None


def _text_before(graph: Graph, link: Any, side: str) -> Place | None:
    seen: set[str] = set()
    while is_link(link) and link[0] in graph and link[0] not in seen:
        seen.add(link[0])
        inputs = graph[link[0]]["inputs"]
        for name in _TEXTS:
            if isinstance(inputs.get(name), str):
                return link[0], name
        link = inputs.get(side, inputs.get("conditioning"))
    return None


def _columns(graph: Graph) -> tuple[dict[str, Place], dict[str, tuple[str, ...]]]:
    places = [
        (node, name)
        for node, content in graph.items()
        for name, value in content["inputs"].items()
        if isinstance(value, str | int | float | bool)
    ]
    by_name: dict[str, list[Place]] = {}
    for place in places:
        by_name.setdefault(place[1], []).append(place)
    columns = {full_name(place): place for place in places}
    columns |= {name: found[0] for name, found in by_name.items() if len(found) == 1}
    prompts = {column: prompt_place(graph, side) for column, side in PROMPTS.items()}
    columns |= {column: place for column, place in prompts.items() if place is not None}
    ambiguous = {
        name: tuple(map(full_name, found))
        for name, found in by_name.items()
        if len(found) > 1 and name not in columns
    }
    return columns, ambiguous


def _unfit(path: Path, found: str) -> FleetError:
    return FleetError(
        f"Could not use the workflow {path}",
        found=found,
        expected="a graph in API form",
        do="export it from the editor with Export (API), or take one of workflows/api",
    )
