"""A client of the host's HTTP and WebSocket interface, for commands and tests."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import requests
import websocket

from devtools.failure import Failure
from devtools.messages import (
    Event,
    ExecutionFailed,
    Image,
    Interrupted,
    Rejected,
    Result,
    raise_for,
    read_message,
)

__all__ = [
    "Event",
    "ExecutionFailed",
    "Graph",
    "HostClient",
    "Image",
    "Interrupted",
    "Rejected",
    "Result",
]

Graph = Mapping[str, Mapping[str, Any]]
"""An API graph: node id -> {"class_type": ..., "inputs": {...}}."""


class HostClient:
    """Speaks to the host at ``address`` (``127.0.0.1:PORT``); ``timeout`` is seconds of silence."""

    def __init__(self, address: str, timeout: float = 600.0) -> None:
        self.address = address
        self.timeout = timeout
        self.client_id = str(uuid.uuid4())

    def object_info(self, node: str = "") -> dict[str, Any]:
        """Return the descriptions of all nodes, or of one, by node class."""
        return self._json("GET", f"/object_info/{node}" if node else "/object_info")

    def run(
        self,
        graph: Graph,
        on_event: Callable[[Event], None] | None = None,
        *,
        extra_data: Mapping[str, Any] | None = None,
    ) -> Result:
        """Queue a graph and wait for its end.

        Raises Rejected, ExecutionFailed, Interrupted, or Failure when the host goes away.
        """
        socket = self._connect()
        try:
            began = time.monotonic()
            queued = self._queue(graph, extra_data)
            events = []
            for event in self._events(socket, str(queued["prompt_id"]), began):
                events.append(event)
                if on_event is not None:
                    on_event(event)
        finally:
            socket.close()
        raise_for(events)
        return Result(
            prompt_id=str(queued["prompt_id"]),
            outputs={
                str(event.data["node"]): event.data["output"] or {}
                for event in events
                if event.kind == "executed"
            },
            events=tuple(events),
            node_errors=queued.get("node_errors") or {},
        )

    def interrupt(self) -> None:
        """Stop the graph that runs now."""
        self._request("POST", "/interrupt", json={})

    def free(self, *, unload_models: bool = True, free_memory: bool = True) -> None:
        """Ask the host to drop loaded models and cached results before its next run."""
        wishes = {"unload_models": unload_models, "free_memory": free_memory}
        self._request("POST", "/free", json=wishes)

    def forget(self) -> None:
        """Let the host drop its history: every prompt that has run, whole, with its results."""
        self._request("POST", "/history", json={"clear": True})

    def image(self, image: Image) -> bytes:
        """Return the bytes of a picture file that the host has saved."""
        content: bytes = self._request("GET", "/view", params=vars(image)).content
        return content

    def _queue(self, graph: Graph, extra_data: Mapping[str, Any] | None) -> dict[str, Any]:
        body = {"prompt": graph, "client_id": self.client_id, "extra_data": extra_data or {}}
        return self._json("POST", "/prompt", json=body)

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._request(method, path, **options).json()
        return answer

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        url = f"http://{self.address}{path}"
        try:
            answer = requests.request(method, url, timeout=self.timeout, **options)
        except requests.RequestException as error:
            raise self._gone(error) from error
        if path == "/prompt" and answer.status_code == 400:
            raise Rejected(answer.json())
        answer.raise_for_status()
        return answer

    def _connect(self) -> websocket.WebSocket:
        url = f"ws://{self.address}/ws?clientId={self.client_id}"
        try:
            return websocket.create_connection(url, timeout=self.timeout)
        except (OSError, websocket.WebSocketException) as error:
            raise self._gone(error) from error

    def _events(self, socket: websocket.WebSocket, prompt_id: str, began: float) -> Iterator[Event]:
        """Messages about one prompt, up to and with the one that says it has ended."""
        while True:
            try:
                message = socket.recv()
            except (OSError, websocket.WebSocketException) as error:
                raise self._gone(error) from error
            event = read_message(message, time.monotonic() - began)
            if event is None or event.data.get("prompt_id", prompt_id) != prompt_id:
                continue
            yield event
            if event.kind == "executing" and event.data["node"] is None:
                return

    def _gone(self, error: Exception) -> Failure:
        return Failure(
            f"Could not go on with the host at {self.address}",
            found=str(error) or type(error).__name__,
            expected="an answer",
            do="look into its log for why it stopped, and start it again",
        )
