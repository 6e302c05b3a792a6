"""What stands before the service: the key, the size of a request, and how many at once."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

OPEN_PATHS = frozenset({"/health", "/ready", "/openapi.json"})
"""What needs no key."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class TooLarge(Exception):  # noqa: N818
    """A request has a longer body than it may."""


class Full(Exception):  # noqa: N818
    """As many requests are under way as there may be."""


class Guard:
    """An ASGI application around another: 401 without the key, 413 for a body that is too long.

    Both come before the body is read as a whole.
    """

    def __init__(self, app: Application, *, key: str, most_bytes: int) -> None:
        self._app, self._key, self._most = app, key.encode(), most_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        if not self._knows(scope["path"], headers):
            await _answer(send, 401, "This needs the key, as Authorization: Bearer KEY.")
        elif _length(headers) > self._most:
            await _answer(send, 413, self._too_long())
        else:
            await self._pass_on(scope, receive, send)

    def _knows(self, path: str, headers: MutableMapping[bytes, bytes]) -> bool:
        if not self._key or path in OPEN_PATHS:
            return True
        scheme, _, shown = headers.get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and secrets.compare_digest(shown.strip(), self._key)

    async def _pass_on(self, scope: Message, receive: Receive, send: Send) -> None:
        """Count the body while it comes; its length need not be said beforehand."""
        came, started = 0, False

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._most:
                raise TooLarge
            return message

        async def noticed(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counted, noticed)
        except TooLarge:
            if started:
                raise
            await _answer(send, 413, self._too_long())

    def _too_long(self) -> str:
        return f"The request is longer than {self._most} bytes."


class Admission:
    """Counts what is under way, and lets in no more than ``most``."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Be one of those under way for the length of a block. Raises Full."""
        if self.count >= self.most:
            raise Full
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


def _length(headers: MutableMapping[bytes, bytes]) -> int:
    said = headers.get(b"content-length", b"0")
    return int(said) if said.isdigit() else 0


async def _answer(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
