"""A workflow in API form whose nodes are found by what they are, not by their number."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from devtools.failure import Failure


class Workflow:
    """The graph in ``path``, to be read and changed before it is queued.

    Raises Failure when there is no such file.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise self._unfit(path, "no such file")
        self.path = path
        self.graph: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))

    def node_id(self, class_type: str, linked_to: tuple[str, str] | None = None) -> str:
        """Return the id of the only node of a class.

        ``linked_to`` (class, input) follows a link instead: the node that feeds this input of
        the only node of that class. Raises Failure where there is none, or more than one.
        """
        if linked_to is not None:
            consumer, name = linked_to
            link = self.graph[self.node_id(consumer)]["inputs"].get(name, ("", 0))
            found = [str(link[0])] if self._class_of(link[0]) == class_type else []
        else:
            found = [node for node in self.graph if self._class_of(node) == class_type]
        if len(found) != 1:
            place = f" at {'.'.join(linked_to)}" if linked_to else ""
            raise self._unfit(self.path, f"{len(found)} nodes {class_type}{place}")
        return found[0]

    def value(self, node_id: str, name: str) -> Any:
        """Return the value of one input. Raises Failure where the node has no such input."""
        inputs = self.graph[node_id]["inputs"]
        if name not in inputs:
            raise self._unfit(self.path, f"no input {name} at node {node_id}")
        return inputs[name]

    def with_values(self, values: dict[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
        """Return the graph with some inputs (node id, name) set; this object stays as it is."""
        graph = copy.deepcopy(self.graph)
        for (node_id, name), value in values.items():
            graph[node_id]["inputs"][name] = value
        return graph

    def class_types(self) -> dict[str, str]:
        """Return the class of each node, by node id."""
        return {node_id: self._class_of(node_id) for node_id in self.graph}

    def _class_of(self, node_id: str) -> str:
        return str(self.graph.get(node_id, {}).get("class_type", ""))

    @staticmethod
    def _unfit(path: Path, found: str) -> Failure:
        return Failure(
            f"Could not use the workflow {path}",
            found=found,
            expected="the text-to-image graph in API form, one node of each kind",
            do="restore that file from the repository",
        )
