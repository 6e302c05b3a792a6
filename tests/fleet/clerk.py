"""A worker without a host, that does what its jobs say; Ray's processes import it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from pixart_fleet.errors import FleetError
from pixart_fleet.jobs import Job
from pixart_fleet.worker import Drawn, DrawnFile, NotDrawn

DO = ("1", "do")


class Clerk:
    """Draws nothing: a job's value at DO is to fail, to die, or the seconds to sleep."""

    def __init__(self, can_start: bool = True) -> None:
        self.can_start = can_start
        self._queue = asyncio.Lock()

    async def ready(self) -> str:
        if not self.can_start:
            raise FleetError("Could not start", found="no card", expected="one", do="buy one")
        return "here"

    async def draw(self, jobs: Sequence[Job]) -> Drawn | NotDrawn:
        async with self._queue:  # one after the other, as a host does
            return await self._draw(jobs)

    async def _draw(self, jobs: Sequence[Job]) -> Drawn | NotDrawn:
        wishes = [job.values.get(DO, 0) for job in jobs]
        if "die" in wishes:
            os._exit(1)
        if "fail" in wishes:
            return NotDrawn("a sentence of the host")
        await asyncio.sleep(sum(wishes))
        files = tuple((DrawnFile(f"{job.id}.png", job.id.encode()),) for job in jobs)
        return Drawn(files, sum(wishes), str(os.getpid()))

    async def stop(self) -> None:
        """Do nothing."""
