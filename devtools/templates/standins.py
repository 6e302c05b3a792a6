"""A template with the demo model in the place of the real ones, and small."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from . import files

Graph = dict[str, dict[str, Any]]

SIDE = 128
"""Of the pictures, in pixels, where a template sets the size itself."""

_LOADERS = {
    ("PixArtModelLoader", "file"): files.DEMO_MODEL,
    ("PixArtModelLoader", "variant"): "auto",
    ("PixArtT5Loader", "file"): files.DEMO_T5,
    ("VAELoader", "vae_name"): files.DEMO_VAE,
}
_SMALL = {
    ("PixArtResolution", "width"): SIDE,
    ("PixArtResolution", "height"): SIDE,
    ("PixArtResolution", "table"): "256",
}


def opened_with_standins(workflow: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a template's form for the editor with the demo's files in its loaders."""
    changed = copy.deepcopy(workflow)
    first = {kind: value for (kind, name), value in _LOADERS.items() if name != "variant"}
    for node in changed["nodes"]:
        if node["type"] in first:
            node["widgets_values"][0] = first[node["type"]]
            node["properties"].pop("models", None)
        if node["type"] == "PixArtModelLoader":
            node["widgets_values"][1] = "auto"
    return changed


def with_standins(graph: Graph, own: Mapping[tuple[str, str], Any] | None = None) -> Graph:
    """Return a copy of a template's API form that the demo's files can run.

    ``own`` sets further inputs by node class and name, where the graph has such nodes: the names of
    a LoRA, a ControlNet, a picture, the number of steps.
    """
    changed = copy.deepcopy(graph)
    for (kind, name), value in {**_LOADERS, **_SMALL, **(own or {})}.items():
        for node in changed.values():
            if node["class_type"] == kind and not isinstance(node["inputs"].get(name), list):
                node["inputs"][name] = value
    return changed
