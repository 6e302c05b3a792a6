"""What is said to a host: a graph goes in, files come out, over one socket that stays open."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from pixart_fleet.workflow import Graph


class Refused(Exception):  # noqa: N818
    """The host did not draw it; the text is what it said."""


class HostGone(Exception):  # noqa: N818
    """The host, or the way to it, ended before it answered; ``started`` if it was on this graph."""

    def __init__(self, found: str, *, started: bool = False) -> None:
        super().__init__(found)
        self.started = started


@dataclass(frozen=True)
class SavedFile:
    """A file below the host's output folder."""

    subfolder: str
    filename: str


@dataclass(frozen=True)
class Drawing:
    """A finished graph."""

    files: tuple[SavedFile, ...]
    seconds: float
    """From the host's start on it to its end."""


@dataclass(eq=False)
class _Run:
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Future[float] = field(default_factory=asyncio.Future)
    began: float = 0.0
    outputs: dict[str, Mapping[str, Any]] = field(default_factory=dict)


class Conversation:
    """Speaks to the host at ``address``. Several graphs may be under way; the host queues them."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}"
        self._client = uuid.uuid4().hex
        self._runs: dict[str, _Run] = {}
        self._session: aiohttp.ClientSession | None = None
        self._reader: asyncio.Task[None] | None = None
        self.lost = False

    async def open(self) -> None:
        """Connect. Raises HostGone."""
        self._session = aiohttp.ClientSession()
        try:
            url = f"{self._url}/ws?clientId={self._client}"
            socket = await self._session.ws_connect(url, max_msg_size=0)
        except (aiohttp.ClientError, OSError) as error:
            await self._session.close()
            raise HostGone(str(error)) from error
        self._reader = asyncio.create_task(self._read(socket))

    async def close(self) -> None:
        """Hang up."""
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        if self._session is not None:
            await self._session.close()

    async def draw(self, graph: Graph, timeout: float) -> Drawing:
        """Queue a graph and wait for its end.

        ``timeout`` counts from the host's start on it. Raises Refused, HostGone, TimeoutError.
        """
        if self.lost:
            raise HostGone("it has hung up before")
        name = str(uuid.uuid4())
        run = self._runs[name] = _Run()
        try:
            await self._queue(graph, name)
            await _first(run.started.wait(), run.ended)
            seconds = await asyncio.wait_for(run.ended, timeout)
        finally:
            self._runs.pop(name, None)
            run.ended.cancel()
        return Drawing(_files(run.outputs), seconds)

    async def _queue(self, graph: Graph, name: str) -> None:
        assert self._session is not None
        body = {"prompt": graph, "client_id": self._client, "prompt_id": name}
        try:
            async with self._session.post(f"{self._url}/prompt", json=body) as answer:
                said = await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError) as error:
            raise HostGone(str(error) or type(error).__name__) from error
        if answer.status != 200 or said.get("node_errors"):
            raise Refused("; ".join(_complaints(said)))

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type == aiohttp.WSMsgType.TEXT:
                content = json.loads(message.data)
                self._hear(content.get("type", ""), content.get("data") or {})
        self.lost = True
        for run in self._runs.values():
            if not run.ended.done():
                gone = HostGone("it hung up", started=run.started.is_set())
                run.ended.set_exception(gone)

    def _hear(self, kind: str, data: Mapping[str, Any]) -> None:
        run = self._runs.get(str(data.get("prompt_id", "")))
        if run is None or run.ended.done():
            return
        if kind == "execution_start":
            run.began = time.monotonic()
            run.started.set()
        elif kind == "executed":
            run.outputs[str(data["node"])] = data.get("output") or {}
        elif kind == "execution_error":
            said = str(data["exception_message"]).strip()
            run.ended.set_exception(Refused(f"{data['node_type']}: {said}"))
        elif kind == "execution_interrupted":
            run.ended.set_exception(Refused("the run was interrupted"))
        elif kind == "execution_success":
            run.ended.set_result(time.monotonic() - run.began)


async def _first(started: Any, ended: asyncio.Future[float]) -> None:
    """Return when a run starts, or ends without having started."""
    start = asyncio.ensure_future(started)
    try:
        await asyncio.wait({start, ended}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        start.cancel()


def _files(outputs: Mapping[str, Mapping[str, Any]]) -> tuple[SavedFile, ...]:
    """Return the saved files, by the number of their node and then in their order."""
    return tuple(
        SavedFile(str(one.get("subfolder", "")), str(one["filename"]))
        for _, output in sorted(outputs.items(), key=_by_number)
        for listed in output.values()
        if isinstance(listed, list)
        for one in listed
        if isinstance(one, dict) and one.get("type") == "output" and "filename" in one
    )


def _by_number(item: tuple[str, object]) -> tuple[int, str]:
    return (int(item[0]) if item[0].isdigit() else 0, item[0])


def _complaints(body: Mapping[str, Any]) -> list[str]:
    """Return what a refusal says, one text a fault."""
    faults = [
        f"{node['class_type']}: {_complaint(fault)}"
        for node in (body.get("node_errors") or {}).values()
        for fault in node["errors"]
    ]
    return list(dict.fromkeys(faults)) or [_complaint(body["error"])]


def _complaint(fault: Mapping[str, Any]) -> str:
    """Return one fault in words; a node's own sentence without what the host puts before it."""
    if fault.get("type") == "custom_validation_failed":
        details = str(fault["details"])
        return details.partition(" - ")[2] or details
    return ": ".join(str(part) for part in (fault["message"], fault.get("details")) if part)
