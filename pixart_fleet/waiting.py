"""Jobs whose pictures are fetched later."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

MOST_BYTES = 256 * 2**20
MOST_SECONDS = 900.0
MOST_JOBS = 10_000


Status = Literal["waiting", "done", "failed"]


@dataclass(eq=False)
class Ticket:
    """One job of a client."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    picture: bytes | None = None
    media: str = ""
    error: str = ""
    code: int = 0
    """The status that its error would have had at once."""
    ended: float = 0.0

    @property
    def status(self) -> Status:
        """Where it stands."""
        return "failed" if self.error else "waiting" if self.picture is None else "done"


class Tickets:
    """All jobs that are not forgotten; finished ones are, after a while or when there are many."""

    def __init__(self, most_bytes: int = MOST_BYTES, seconds: float = MOST_SECONDS) -> None:
        self._most, self._seconds = most_bytes, seconds
        self._waiting: dict[str, Ticket] = {}
        self._ended: OrderedDict[str, Ticket] = OrderedDict()
        self._bytes = 0

    def new(self) -> Ticket:
        """Return a new ticket."""
        ticket = Ticket()
        self._waiting[ticket.id] = ticket
        return ticket

    def find(self, name: str) -> Ticket | None:
        """Return a ticket that is not forgotten."""
        self._forget()
        return self._waiting.get(name) or self._ended.get(name)

    def end(self, ticket: Ticket) -> None:
        """Take note that a ticket has got its picture or error."""
        ticket.ended = time.monotonic()
        del self._waiting[ticket.id]
        self._ended[ticket.id] = ticket
        self._bytes += len(ticket.picture or b"")
        self._forget()

    def _forget(self) -> None:
        while self._ended:
            oldest = next(iter(self._ended.values()))
            is_old = time.monotonic() - oldest.ended > self._seconds
            if not (is_old or self._bytes > self._most or len(self._ended) > MOST_JOBS):
                return
            del self._ended[oldest.id]
            self._bytes -= len(oldest.picture or b"")
