"""Workers as Ray actors, each with a bounded number of groups in flight.

Ray Data's actor pool was the other choice. It is made for blocks of a table: it tries a block
again as a whole, keeps no durable record of rows, and hands on results by block. Here a row is
what fails, is tried again and is recorded, so the actors are driven directly.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from pixart_fleet.errors import FleetError
from pixart_fleet.jobs import Job
from pixart_fleet.worker import Drawn, DrawnFile, NotDrawn

MOST_TRIES = 3
DEPTH = 2
"""Groups that a worker has at once: one is drawn, and one waits in its host's queue."""
_BURST = 64
_STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Ended:
    """How one job ended: with files, or with an error after three tries."""

    job: Job
    files: tuple[DrawnFile, ...] = ()
    error: str = ""
    tries: int = 1
    seconds: float = 0.0
    batch: int = 1
    node: str = ""


@dataclass(frozen=True, eq=False)
class _Work:
    jobs: tuple[Job, ...]
    failures: int = 0
    alone: bool = False
    """Whether it was with a worker that died: beside others it might cost them their tries."""


@dataclass(eq=False)
class _Member:
    handle: Any
    is_ready: bool = False
    is_gone: bool = False
    flight: list[_Work] = field(default_factory=list)


_Event = tuple[_Member, _Work | None, "Future[Any]"]


class Crew:
    """A number of workers that is kept up: those that die are replaced. A context manager.

    ``hire`` returns a new actor with the methods of Worker; ``dismiss`` ends some, after so many
    seconds to put things in order.
    """

    def __init__(
        self,
        hire: Callable[[], Any],
        dismiss: Callable[[Sequence[Any], float], None],
        size: int,
        depth: int = DEPTH,
    ) -> None:
        self._hire, self._dismiss = hire, dismiss
        self.size, self.depth = size, depth
        self.members: list[_Member] = []
        self._room: dict[_Member, None] = {}
        self._again: deque[_Work] = deque()
        self._alone: deque[_Work] = deque()
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._failed_starts = 0

    def __enter__(self) -> Crew:
        for _ in range(self.size):
            self._add()
        return self

    def __exit__(self, *error: object) -> None:
        self._dismiss([member.handle for member in self.members], _STOP_SECONDS)

    @property
    def ready(self) -> int:
        """How many workers have a host that has started."""
        return sum(member.is_ready for member in self.members)

    def work(self, groups: Iterable[Sequence[Job]]) -> Iterator[list[Ended]]:
        """Have all groups drawn; yield what has ended, in bursts, as it ends.

        An empty burst says that a worker has come or gone. Groups are taken from the iterator only
        when a worker has room. Raises FleetError where no worker can start.
        """
        source = iter(groups)
        under_way = True
        while under_way:
            self._feed(source)
            left = self._again or self._alone
            under_way = bool(left) or any(member.flight for member in self.members)
            if under_way or self._has_more(source):
                under_way = True
                yield [ended for event in self._burst() for ended in self._handle(event)]

    def _has_more(self, source: Iterator[Sequence[Job]]) -> bool:
        """Whether work is left that no worker had room for."""
        following = next(source, None)
        if following is not None:
            self._again.append(_Work(tuple(following)))
        return following is not None

    def _feed(self, source: Iterator[Sequence[Job]]) -> None:
        while self._room:
            idle = (member for member in self._room if not member.flight)
            member = next(idle if self._alone else iter(self._room), None)
            if member is None:  # what must be alone waits for a worker with nothing else
                return
            work = self._alone.popleft() if self._alone else self._next(source)
            if work is None:
                return
            # To the end of the line, so that each gets one before any gets a second.
            del self._room[member]
            member.flight.append(work)
            self._make_room(member)
            self._await(member.handle.draw.remote(work.jobs), member, work)

    def _next(self, source: Iterator[Sequence[Job]]) -> _Work | None:
        if self._again:
            return self._again.popleft()
        following = next(source, None)
        return None if following is None else _Work(tuple(following))

    def _make_room(self, member: _Member) -> None:
        full = len(member.flight) >= self.depth or any(work.alone for work in member.flight)
        if member.is_ready and not member.is_gone and not full:
            self._room[member] = None

    def _await(self, reference: Any, member: _Member, work: _Work | None) -> None:
        reference.future().add_done_callback(
            lambda future: self._events.put((member, work, future))
        )

    def _burst(self) -> Iterator[_Event]:
        """Yield the next event, and those that lie behind it."""
        yield self._events.get()
        for _ in range(_BURST):
            try:
                yield self._events.get_nowait()
            except queue.Empty:
                return

    def _handle(self, event: _Event) -> Iterator[Ended]:
        member, work, future = event
        if member.is_gone:  # its work was given to others
            return
        error = future.exception()
        if error is not None:
            yield from self._lose(member, error)
        elif work is None:
            member.is_ready, self._failed_starts = True, 0
            self._make_room(member)
        else:
            member.flight.remove(work)
            self._make_room(member)
            yield from self._take(work, future.result())

    def _take(self, work: _Work, result: Drawn | NotDrawn) -> Iterator[Ended]:
        if isinstance(result, NotDrawn):
            yield from self._retry(work, result)
            return
        for job, files in zip(work.jobs, result.files, strict=True):
            yield Ended(
                job,
                files,
                tries=work.failures + 1,
                seconds=result.seconds,
                batch=len(work.jobs),
                node=result.node,
            )

    def _retry(self, work: _Work, result: NotDrawn, alone: bool = False) -> Iterator[Ended]:
        """Put work back; after a failure job by job, so that one does not spoil the others."""
        failures = work.failures + result.counts
        waiting = self._alone if alone else self._again
        if not result.counts:
            waiting.append(_Work(work.jobs, failures, alone))
        elif len(work.jobs) > 1:
            waiting.extend(_Work((job,), failures, alone) for job in work.jobs)
        elif failures < MOST_TRIES:
            waiting.append(_Work(work.jobs, failures, alone))
        else:
            yield Ended(work.jobs[0], error=result.reason, tries=failures)

    def _lose(self, member: _Member, error: BaseException) -> Iterator[Ended]:
        """Replace a worker that has died, and put its work back.

        What it drew may be what ended it, so that counts as a try; what waited behind does not.
        Which is which cannot be told for sure, so each is tried again alone.
        """
        member.is_gone = True
        self.members.remove(member)
        self._room.pop(member, None)
        self._dismiss([member.handle], 0)
        if not member.is_ready:
            self._failed_starts += 1
        if self._failed_starts >= self.size + MOST_TRIES:
            raise _no_worker(error) from error
        self._add()
        reason = f"its worker ended: {first_line(error)}"
        for place, work in enumerate(member.flight):
            yield from self._retry(work, NotDrawn(reason, counts=place == 0), alone=True)

    def _add(self) -> None:
        member = _Member(self._hire())
        self.members.append(member)
        self._await(member.handle.ready.remote(), member, None)


def first_line(error: BaseException) -> str:
    """Return what an error says in short, without Ray's wrapping."""
    said = str(getattr(error, "cause", None) or error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def _no_worker(error: BaseException) -> FleetError:
    cause = getattr(error, "cause", None) or error
    first, _, rest = str(cause).strip().partition("\n")
    return FleetError(
        "Could not start any worker",
        found=f"the error below, and none that started: {first}",
        expected="a ComfyUI that starts, on each machine of the cluster",
        do="mend what it says",
        detail=rest,
    )
