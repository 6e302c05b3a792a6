"""What a client may ask for: a model of the request's body, made for a workflow."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from pixart_fleet.jobs import Job, identify
from pixart_fleet.limits import Limits
from pixart_fleet.workflow import Workflow

_SEED_BITS = 53
"""What every reader of JSON can tell apart; PixArt Sampler itself takes 64."""
_SIDE_STEP = 16
_TEXTS = ("prompt", "negative")
_ABOUT = {
    "prompt": "What to draw.",
    "negative": "What to avoid.",
    "seed": "By lot, where it is left out.",
    "width": "In pixels.",
    "height": "In pixels.",
    "steps": "Sampling steps.",
    "guidance": "How closely to follow the prompt.",
}


class Wish(BaseModel):
    """A request; its fields are those of the workflow."""

    model_config = ConfigDict(extra="forbid", strict=True)


def wish_model(workflow: Workflow, limits: Limits) -> type[Wish]:
    """Return the model of a body with what this workflow lets a client set.

    What is left out is the workflow's own, but for the seed, which is then drawn by lot. What the
    workflow itself asks for is never too much.
    """
    fields: dict[str, Any] = {}
    for name, about in _ABOUT.items():
        place = workflow.place(name)
        own = None if place is None else workflow.value(place)
        kind = _kind(name, own, limits)
        if kind is None:
            continue
        if name == "seed":
            kind, own = kind | None, None
        default = ... if name == "prompt" else own
        fields[name] = (kind, Field(default=default, description=about))
    return create_model("Wish", __base__=Wish, **fields)


def job_of(wish: Wish, workflow: Workflow) -> Job:
    """Return the job of a request."""
    values = {workflow.columns[name]: value for name, value in wish.model_dump().items()}
    seed = workflow.place("seed")
    if seed in values and values[seed] is None:
        values[seed] = secrets.randbits(_SEED_BITS)
    changed = workflow.differing(values)
    return Job(identify(workflow, changed), changed)


def seed_of(job: Job, workflow: Workflow) -> int | None:
    """Return the seed that a job is drawn with, where the workflow has one."""
    place = workflow.place("seed")
    return None if place is None else job.values.get(place, workflow.value(place))


def _kind(name: str, own: Any, limits: Limits) -> Any:
    """Return the type of a field with its bounds, or None where the workflow has it otherwise."""
    if name in _TEXTS:
        return Annotated[str, Field(max_length=limits.letters)] if isinstance(own, str) else None
    if name == "guidance":
        return Annotated[float, Field(ge=0, le=100)] if isinstance(own, int | float) else None
    if type(own) is not int:
        return None
    if name == "seed":
        bounds = Field(ge=0, le=2**_SEED_BITS - 1)
    elif name == "steps":
        bounds = Field(ge=1, le=max(limits.steps, own))
    else:
        bounds = Field(ge=_SIDE_STEP, le=max(limits.side, own), multiple_of=_SIDE_STEP)
    return Annotated[int, bounds, BeforeValidator(_whole)]


def _whole(value: Any) -> Any:
    """Return 96.0 as 96, which it is in JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
