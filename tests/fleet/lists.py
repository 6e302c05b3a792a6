"""Lists of prompts, and the workflow that draws them small and quickly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devtools.environment import ROOT
from pixart_fleet.jobs import Job, make_jobs
from pixart_fleet.rows import Row
from pixart_fleet.workflow import Place, Workflow, make_workflow, read_workflow

WORKFLOW = ROOT / "workflows" / "api" / "text_to_image.json"

_COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "white", "black")
_SHAPES = ("circle", "square", "triangle", "star")


def small_workflow(**more: Any) -> Workflow:
    """The shipped workflow at 128 px and 2 steps; ``more`` sets other inputs of the sampler."""
    workflow = read_workflow(WORKFLOW)
    small: dict[Place, Any] = {("5", "width"): 128, ("5", "height"): 128, ("6", "steps"): 2}
    return make_workflow(
        workflow.with_values({**small, **{("6", name): value for name, value in more.items()}}),
        WORKFLOW,
    )


def prompts(count: int) -> list[str]:
    """Different prompts that the demo model knows."""
    numbers = range(count)
    shown = [
        (_COLOURS[i % 8], _SHAPES[i // 8 % 4], _COLOURS[(i + 3 + i // 32) % 8]) for i in numbers
    ]
    return [f"a {colour} {shape} on a {ground} background" for colour, shape, ground in shown]


def jobs_for(workflow: Workflow, values: Sequence[dict[Place, Any]]) -> list[Job]:
    """The jobs of some rows."""
    return make_jobs([Row(line, one) for line, one in enumerate(values, 2)], workflow)


def write_workflow(workflow: Workflow, folder: Path) -> Path:
    """Write a workflow into a folder."""
    path = folder / "workflow.json"
    path.write_text(json.dumps(workflow.graph), encoding="utf-8")
    return path
