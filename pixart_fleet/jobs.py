"""From rows to jobs: each distinct content once, under a name that comes from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pixart_fleet.rows import Row
from pixart_fleet.workflow import Graph, Place, Workflow, full_name

_DIGITS = 32
PREFIX = "filename_prefix"
"""The input by which a node that saves files is told."""


@dataclass(frozen=True)
class Job:
    """One content to draw."""

    id: str
    """Hexadecimal digest of the workflow and of what the row changes in it."""
    values: dict[Place, Any]
    """What it changes."""
    lines: tuple[int, ...] = field(default=(), compare=False)
    """The rows that ask for it."""


def make_jobs(rows: Iterable[Row], workflow: Workflow) -> list[Job]:
    """Return a job for each distinct content, in the order in which they first come."""
    found: dict[str, tuple[dict[Place, Any], list[int]]] = {}
    for row in rows:
        values = workflow.differing(row.values)
        _, lines = found.setdefault(identify(workflow, values), (values, []))
        lines.append(row.line)
    return [Job(name, values, tuple(lines)) for name, (values, lines) in found.items()]


def identify(workflow: Workflow, values: dict[Place, Any]) -> str:
    """Return the name of a content; the same for the same graph, however it was written down."""
    named = {full_name(place): value for place, value in values.items()}
    content = json.dumps([workflow.digest, named], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def saving_as(graph: Graph, prefix: str) -> Graph:
    """Return the graph with its pictures saved under ``prefix``.

    A host that is asked for the same graph twice would else point to a file that was taken away.
    """
    return {
        node: {**content, "inputs": {**content["inputs"], PREFIX: f"{prefix}-{node}"}}
        if PREFIX in content["inputs"]
        else content
        for node, content in graph.items()
    }


def file_names(job: Job, suffixes: list[str]) -> list[str]:
    """Return the names of a job's files: ``ID.png``, and ``ID-2.png`` for a second one."""
    return [
        f"{job.id}{f'-{number}' if number > 1 else ''}{suffix}"
        for number, suffix in enumerate(suffixes, 1)
    ]
