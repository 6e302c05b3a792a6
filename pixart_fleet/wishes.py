"""What a client may ask for: a model of the request's body, made for a workflow."""

from __future__ import annotations

import secrets
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from pixart_fleet.jobs import Job, identify
from pixart_fleet.limits import Limits
from pixart_fleet.workflow import Workflow

_LARGEST_SEED = 2**64 - 1
_SIDE_STEP = 16
_APART: dict[str, tuple[Any, Any]] = {"prompt": (str, ...), "seed": (int | None, None)}
"""Fields whose default is not the workflow's value."""


class Wish(BaseModel):
    """A request; its fields are those of the workflow."""

    model_config = ConfigDict(extra="forbid", strict=True)


def wish_model(workflow: Workflow, limits: Limits) -> type[Wish]:
    """Return the model of a body with what this workflow lets a client set.

    What is left out is the workflow's own, but for the seed, which is then drawn by lot. What the
    workflow itself asks for is never too much.
    """
    fields: dict[str, Any] = {}
    for name, (kind, bounds) in _fields(limits).items():
        place = workflow.place(name)
        own = None if place is None else workflow.value(place)
        if type(own) is not kind:
            continue
        if "le" in bounds:
            bounds["le"] = max(bounds["le"], own)
        kept, default = _APART.get(name, (kind, own))
        fields[name] = (kept, Field(default=default, **bounds))
    return create_model("Wish", __base__=Wish, **fields)


def job_of(wish: Wish, workflow: Workflow) -> Job:
    """Return the job of a request."""
    values = {workflow.columns[name]: value for name, value in wish.model_dump().items()}
    seed = workflow.place("seed")
    if seed in values and values[seed] is None:
        values[seed] = secrets.randbits(63)
    changed = workflow.differing(values)
    return Job(identify(workflow, changed), changed)


def seed_of(job: Job, workflow: Workflow) -> int | None:
    """Return the seed that a job is drawn with, where the workflow has one."""
    place = workflow.place("seed")
    return None if place is None else job.values.get(place, workflow.value(place))


def _fields(limits: Limits) -> dict[str, tuple[type, dict[str, Any]]]:
    side = {"ge": _SIDE_STEP, "le": limits.side, "multiple_of": _SIDE_STEP}
    return {
        "prompt": (str, {"max_length": limits.letters, "description": "What to draw."}),
        "negative": (str, {"max_length": limits.letters, "description": "What to avoid."}),
        "seed": (
            int,
            {"ge": 0, "le": _LARGEST_SEED, "description": "By lot, where it is left out."},
        ),
        "width": (int, {**side, "description": "In pixels."}),
        "height": (int, {**side, "description": "In pixels."}),
        "steps": (int, {"ge": 1, "le": limits.steps, "description": "Sampling steps."}),
        "guidance": (
            float,
            {"ge": 0, "le": 100, "description": "How closely to follow the prompt."},
        ),
    }
