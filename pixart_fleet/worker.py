"""What one worker does: keep a host alive, and have it draw jobs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pixart_fleet.conversation import Conversation, Drawing, HostGone, Refused, SavedFile
from pixart_fleet.host import Host, HostFacts
from pixart_fleet.jobs import Job, file_names, saving_as
from pixart_fleet.manifest import write_whole
from pixart_fleet.merging import merged
from pixart_fleet.picture import with_graph
from pixart_fleet.workflow import Graph, Workflow

_LOOK_SECONDS = 5.0
_MISSES = 24
"""Looks in sequence without an answer after which a host counts as stuck: two minutes, which is
more than the longest that reading a model file keeps it silent."""


@dataclass(frozen=True)
class DrawnFile:
    """A file's name and content; None where the worker has written it itself."""

    name: str
    content: bytes | None


@dataclass(frozen=True)
class Drawn:
    """What came of a group of jobs."""

    files: tuple[tuple[DrawnFile, ...], ...]
    """Of each job, in their order."""
    seconds: float
    node: str


@dataclass(frozen=True)
class NotDrawn:
    """Why nothing came of it."""

    reason: str
    counts: bool = True
    """Whether it was a try: not where the host ended while another job was drawn."""
    is_final: bool = False
    """Whether the host itself refused it, and would again."""


@dataclass(frozen=True)
class Task:
    """What all workers of a run are told."""

    facts: HostFacts
    workflow: Workflow
    job_seconds: float
    """How long one group may be drawn."""
    shared: Path | None = None
    """The folder of the pictures, where workers write them themselves."""


class Worker:
    """Owns one host; as a Ray actor, or in any process with an event loop."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.host = Host(task.facts)
        self._conversation: Conversation | None = None
        self._starting = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)

    async def ready(self) -> str:
        """Start the host, and return the machine's name. Raises FleetError."""
        await self._connected()
        if self._watch is None:
            self._watch = asyncio.create_task(self._keep_alive())
        return socket.gethostname()

    async def check(self) -> bool:
        """Tell whether the host answers."""
        return await self.host.answers()

    async def host_pid(self) -> int:
        """Return the number of the host's process."""
        return self.host.pid

    async def draw(self, jobs: Sequence[Job]) -> Drawn | NotDrawn:
        """Draw a group of jobs. Raises FleetError where no host can be started."""
        conversation = await self._connected()
        graph = saving_as(merged(jobs, self.task.workflow), f"fleet/{next(self._numbers)}")
        try:
            drawing = await conversation.draw(graph, self.task.job_seconds)
        except Refused as refusal:
            return NotDrawn(str(refusal), is_final=True)
        except HostGone as gone:
            return NotDrawn(f"ComfyUI ended while it drew this ({gone})", counts=gone.started)
        except TimeoutError:
            await self._stop_host()
            return NotDrawn(f"ComfyUI had not drawn it after {self.task.job_seconds:g} s")
        return self._collect(jobs, graph, drawing)

    async def stop(self) -> None:
        """End the host."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        await self._stop_host()

    async def _connected(self) -> Conversation:
        """Return the conversation with a living host, which is started if there is none."""
        async with self._starting:
            if self._conversation is None or self._conversation.lost or not self.host.running():
                await self._stop_host()
                await self.host.start()
                conversation = Conversation(self.host.address)
                await conversation.open()
                self._conversation = conversation
            return self._conversation

    async def _stop_host(self) -> None:
        if self._conversation is not None:
            conversation, self._conversation = self._conversation, None
            await conversation.close()
        await self.host.stop()

    async def _keep_alive(self) -> None:
        """Start the host anew where it has ended, and end it where it is stuck."""
        misses = 0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if await self.host.answers():
                misses = 0
            elif not self.host.running():
                with contextlib.suppress(Exception):  # the next job meets it again, and tells
                    await self._connected()
            else:
                misses += 1
                if misses >= _MISSES:
                    misses = 0
                    await self._stop_host()

    def _collect(self, jobs: Sequence[Job], sent: Graph, drawing: Drawing) -> Drawn | NotDrawn:
        """Take the files away from the host's folder, and give each job its own."""
        count = len(jobs)
        if not drawing.files or (count > 1 and len(drawing.files) % count):
            return NotDrawn(f"ComfyUI saved {len(drawing.files)} files for {count} rows")
        shares = [drawing.files[i::count] if count > 1 else drawing.files for i in range(count)]
        files = tuple(self._take(job, sent, share) for job, share in zip(jobs, shares, strict=True))
        return Drawn(files, drawing.seconds, socket.gethostname())

    def _take(self, job: Job, sent: Graph, saved: Sequence[SavedFile]) -> tuple[DrawnFile, ...]:
        graph = self.task.workflow.with_values(job.values)
        names = file_names(job, [Path(file.filename).suffix for file in saved])
        return tuple(
            self._deliver(name, with_graph(self._fetch(file), graph, sent))
            for name, file in zip(names, saved, strict=True)
        )

    def _fetch(self, file: SavedFile) -> bytes:
        path = self.host.output / file.subfolder / file.filename
        content = path.read_bytes()
        path.unlink()
        return content

    def _deliver(self, name: str, content: bytes) -> DrawnFile:
        if self.task.shared is None:
            return DrawnFile(name, content)
        write_whole(self.task.shared / name, content)
        return DrawnFile(name, None)
