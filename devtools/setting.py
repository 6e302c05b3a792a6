"""A setting of the workflow in words: ``guidance=3 PixArtT5Loader.precision=bf16``."""

from __future__ import annotations

import shlex
from typing import Any

from devtools.failure import Failure
from devtools.workflow import Workflow

Values = dict[tuple[str, str], Any]


def parse_setting(text: str, workflow: Workflow) -> Values:
    """Return the values by node id and input; an empty text is the workflow as it is.

    Each word sets one input, with its node's class in front where several nodes have one of that
    name. Raises Failure for an input that no node or more than one has, or a value of another
    kind than the workflow's own.
    """
    values: Values = {}
    for word in shlex.split(text):
        name, equals, value = word.partition("=")
        place = _place(name, workflow) if equals else None
        if place is None:
            raise _unfit(word, f"one of {', '.join(_names(workflow))}, then = and a value")
        values[place] = _converted(word, value, workflow.value(*place))
    return values


def _place(name: str, workflow: Workflow) -> tuple[str, str] | None:
    class_type, _, own = name.rpartition(".")
    found = [
        (node_id, own)
        for node_id, node in workflow.graph.items()
        if class_type in ("", node["class_type"]) and _is_value(node["inputs"].get(own, []))
    ]
    return found[0] if len(found) == 1 else None


def _names(workflow: Workflow) -> list[str]:
    places = [
        (node["class_type"], name)
        for node in workflow.graph.values()
        for name, value in node["inputs"].items()
        if _is_value(value)
    ]
    names = {f"{class_type}.{name}" for class_type, name in places}
    return sorted(name for name in names if _place(name, workflow))


def _is_value(value: Any) -> bool:
    return not isinstance(value, list)


def _converted(word: str, value: str, present: Any) -> Any:
    try:
        return type(present)(value)
    except ValueError as error:
        raise _unfit(word, f"a value like {present!r}") from error


def _unfit(word: str, expected: str) -> Failure:
    return Failure(
        "Could not understand the setting",
        found=repr(word),
        expected=expected,
        do="write, for example, --setting 'steps=10 guidance=3'",
    )
