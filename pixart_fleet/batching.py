"""Requests that wait at one worker, drawn together where they can be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from pixart_fleet.jobs import Job
from pixart_fleet.merging import groups
from pixart_fleet.worker import Drawn, DrawnFile, NotDrawn
from pixart_fleet.workflow import Workflow

Draw = Callable[[Sequence[Job]], Awaitable[Drawn | NotDrawn]]


@dataclass(frozen=True)
class Painted:
    """What one request gets."""

    files: tuple[DrawnFile, ...]
    seconds: float
    batch: int


@dataclass(eq=False)
class _Waiting:
    job: Job
    futures: list[asyncio.Future[Painted | NotDrawn]] = field(default_factory=list)

    def is_wanted(self) -> bool:
        return not all(future.done() for future in self.futures)

    def answer(self, result: Painted | NotDrawn | Exception) -> None:
        for future in self.futures:
            if future.done():  # its client has gone
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


class Batcher:
    """Takes one job a call, and has ``draw`` called with up to ``size`` that fit together.

    The oldest request decides which; ``seconds`` is how long it waits for company at most. While
    one group is drawn the next one gathers.
    """

    def __init__(self, draw: Draw, workflow: Workflow, size: int, seconds: float) -> None:
        self._draw, self._workflow = draw, workflow
        self._size, self._seconds = size, seconds
        self._waiting: dict[str, _Waiting] = {}
        self._loop: asyncio.Task[None] | None = None

    async def draw(self, job: Job) -> Painted | NotDrawn:
        """Return what came of a job; the same content asked for twice at once is drawn once."""
        future: asyncio.Future[Painted | NotDrawn] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job.id, _Waiting(job)).futures.append(future)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            if 1 < self._size > len(self._waiting):
                await asyncio.sleep(self._seconds)
            group = self._take()
            if group:
                await self._serve(group)

    def _take(self) -> list[_Waiting]:
        """Take the oldest request, and those that can be drawn with it."""
        for name in [name for name, one in self._waiting.items() if not one.is_wanted()]:
            del self._waiting[name]
        jobs = [waiting.job for waiting in self._waiting.values()]
        first = next(groups(jobs, self._workflow, self._size), ())
        return [self._waiting.pop(job.id) for job in first]

    async def _serve(self, group: Sequence[_Waiting]) -> None:
        try:
            result = await self._draw([waiting.job for waiting in group])
        except Exception as error:  # it is for those who wait, and the loop goes on
            for waiting in group:
                waiting.answer(error)
            return
        if isinstance(result, Drawn):
            for waiting, files in zip(group, result.files, strict=True):
                waiting.answer(Painted(files, result.seconds, len(group)))
        elif len(group) == 1:
            group[0].answer(result)
        else:  # one may have spoiled it for the others
            for waiting in group:
                await self._serve([waiting])
