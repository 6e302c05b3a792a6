"""What the host says about a run: its messages, its result, and the ways it can end badly."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_PREVIEW_FRAMES = {1: "JPEG", 2: "PNG"}


class Rejected(Exception):  # noqa: N818
    """The host did not accept the graph; ``body`` is its 400 answer."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        super().__init__("; ".join(_complaints(body)))
        self.body = body


class ExecutionFailed(Exception):  # noqa: N818
    """A node raised; ``message`` is what it said."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.node_id = str(data["node_id"])
        self.node_type = str(data["node_type"])
        self.message = str(data["exception_message"]).strip()
        self.traceback = "".join(data["traceback"])
        super().__init__(f"{self.node_type}: {self.message}")


class Interrupted(Exception):  # noqa: N818
    """The run was stopped by an interrupt."""


@dataclass(frozen=True)
class Event:
    """One message of the host, ``seconds`` after the graph was sent.

    ``kind`` is the host's type, e.g. ``executing``; a preview picture comes as ``preview`` with
    ``{"format": "JPEG", "image": bytes}``.
    """

    kind: str
    data: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Image:
    """A picture that the host has saved; names as ``/view`` takes them."""

    filename: str
    subfolder: str
    type: str


@dataclass(frozen=True)
class Result:
    """A finished run: what the output nodes gave, by node id, and all messages in order.

    ``node_errors`` is not empty when the host dropped some of the graph's outputs as invalid.
    """

    prompt_id: str
    outputs: Mapping[str, Mapping[str, Any]]
    events: tuple[Event, ...]
    node_errors: Mapping[str, Any]

    def images(self) -> list[Image]:
        """Return all saved and previewed pictures, in the order of the output nodes' ids."""
        found = [
            image for _, out in sorted(self.outputs.items()) for image in out.get("images", ())
        ]
        return [Image(one["filename"], one["subfolder"], one["type"]) for one in found]

    def node_seconds(self) -> dict[str, float]:
        """Return the seconds of each executed node, by node id; cached nodes are left out."""
        marks = [event for event in self.events if event.kind == "executing"]
        seconds: dict[str, float] = {}
        for mark, following in pairwise(marks):
            node = str(mark.data["node"])
            seconds[node] = seconds.get(node, 0.0) + following.seconds - mark.seconds
        return seconds


def read_message(message: str | bytes, seconds: float) -> Event | None:
    """Return a message of the socket as an event; None for a binary frame but a preview."""
    if isinstance(message, str):
        content = json.loads(message)
        return Event(content["type"], content["data"], seconds)
    kind, picture_format = struct.unpack(">II", message[:8])
    if kind != 1:
        return None
    picture = {"format": _PREVIEW_FRAMES[picture_format], "image": message[8:]}
    return Event("preview", picture, seconds)


def raise_for(events: Sequence[Event]) -> None:
    """Raise ExecutionFailed or Interrupted where the messages tell of one."""
    for event in events:
        if event.kind == "execution_error":
            raise ExecutionFailed(event.data)
        if event.kind == "execution_interrupted":
            raise Interrupted(f"The run was interrupted in node {event.data.get('node_type')}.")


def _complaints(body: Mapping[str, Any]) -> list[str]:
    """Return what a 400 answer says, one string a fault, else its general message."""
    faults = [
        f"{node['class_type']}: {_complaint(fault)}"
        for node in (body.get("node_errors") or {}).values()
        for fault in node["errors"]
    ]
    return list(dict.fromkeys(faults)) or [_complaint(body["error"])]


def _complaint(fault: Mapping[str, Any]) -> str:
    """Return one fault in words; a node's own sentence without what the host puts before it.

    The host repeats that sentence for each input that the node checks.
    """
    if fault["type"] == "custom_validation_failed":
        return str(fault["details"].partition(" - ")[2] or fault["details"])
    return ": ".join(part for part in (fault["message"], fault["details"]) if part)
