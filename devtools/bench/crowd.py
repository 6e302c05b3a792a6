"""``python dev.py bench crowd``: how many workers one driver can keep busy.

The driver is the real one: its rows, its crew, its manifest on the disk, and a real Ray. Only the
workers are not: each sleeps for as long as a drawing would take. Hundreds of processes do not fit
on one machine, so some processes stand for all of them, and share its cores with the driver.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from devtools.environment import ROOT
from devtools.memory import anonymous_bytes
from pixart_fleet.cluster import Share, import_ray, joined
from pixart_fleet.crew import Crew
from pixart_fleet.jobs import Job, make_jobs
from pixart_fleet.manifest import Manifest
from pixart_fleet.rows import read_rows
from pixart_fleet.running import entry_of
from pixart_fleet.worker import Drawn, DrawnFile
from pixart_fleet.workflow import read_workflow

CROWDS = (1, 10, 100, 500)
_PROCESSES = 2
_WORKFLOW = ROOT / "workflows" / "api" / "text_to_image.json"


@dataclass(frozen=True)
class Point:
    """What one driver did with so many workers."""

    workers: int
    rows: int
    """How many ended; a run of few workers is cut short."""
    rate: float
    """Rows a second."""
    ideal: float
    """Rows a second if no worker ever waited."""
    memory_mb: float
    """The driver's, at most."""
    seconds: float


class Room:
    """A process in which many workers sleep, each through one job at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ready(self) -> str:
        """Be ready."""
        return "here"

    async def draw(self, worker: int, jobs: Sequence[Job]) -> Drawn:
        """Sleep, as a worker whose pictures go to shared storage."""
        async with self._locks[worker]:
            await asyncio.sleep(self._seconds)
        return Drawn(tuple((DrawnFile(f"{job.id}.png", None),) for job in jobs), 0.0, "here")


class Method:
    """A method of one worker, called as Ray's are."""

    def __init__(self, remote: Any) -> None:
        self.remote = remote


class Sleeper:
    """One worker in a room."""

    def __init__(self, room: Any, number: int) -> None:
        self.ready = room.ready
        self.draw = Method(lambda jobs: room.draw.remote(number, jobs))


def main(arguments: list[str]) -> int:
    """Measure each crowd, and write figures and a plot."""
    parser = argparse.ArgumentParser(prog="dev.py bench crowd", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--sleep", type=float, default=1.0, help="seconds of a drawing")
    parser.add_argument("--seconds", type=float, default=25.0, help="for each but the last crowd")
    parser.add_argument("--workers", type=int, nargs="+", default=list(CROWDS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks"))
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        jobs = _jobs(Path(folder), chosen.rows)
        read = time.monotonic() - began
        print(f"{len(jobs)} rows read in {read:.1f} s; {_memory():.0f} MB")
        with joined(None, _PROCESSES, Share(0.0, 0.0)):
            points = [
                _measure(jobs, workers, chosen.sleep, Path(folder), limit)
                for workers, limit in _limits(chosen.workers, chosen.seconds)
            ]
    text = json.dumps([asdict(point) for point in points], indent=1)
    (chosen.out / "crowd.json").write_text(text + "\n", encoding="utf-8")
    _plot(points, chosen.out / "crowd.png")
    return 0


def _limits(workers: Sequence[int], seconds: float) -> list[tuple[int, float]]:
    """Only the last crowd draws all rows."""
    return [(n, seconds) for n in workers[:-1]] + [(workers[-1], float("inf"))]


def _jobs(folder: Path, count: int) -> list[Job]:
    """Read a list as long as that, as a run does."""
    path = folder / "list.csv"
    lines = (f"a red circle number {n} on a blue background,{n}" for n in range(count))
    path.write_text("\n".join(["prompt,seed", *lines]), encoding="utf-8")
    workflow = read_workflow(_WORKFLOW)
    return make_jobs(read_rows(path, workflow), workflow)


def _measure(jobs: Sequence[Job], workers: int, sleep: float, folder: Path, limit: float) -> Point:
    ray = import_ray()
    actor = ray.remote(Room).options(num_cpus=0, max_concurrency=4 * workers + 8)
    rooms = [actor.remote(sleep) for _ in range(min(_PROCESSES, workers))]
    ray.get([room.ready.remote() for room in rooms])
    numbers = itertools.count()
    count, most, rows = 0, 0.0, iter(jobs)
    bar: tqdm[None] = tqdm(desc=f"{workers} workers", total=len(jobs), unit="row")
    with (
        Manifest(folder / str(workers)) as manifest,
        Crew(lambda: Sleeper(rooms[(n := next(numbers)) % len(rooms)], n), _leave, workers) as crew,
        bar,
    ):
        began = looked = time.monotonic()
        for burst in crew.work([job] for job in rows):
            if burst:
                manifest.append(map(entry_of, burst))
            count += len(burst)
            bar.update(len(burst))
            if time.monotonic() - looked > 0.5:
                looked, most = time.monotonic(), max(most, _memory())
            if time.monotonic() - began > limit:
                break
        seconds = time.monotonic() - began
    for room in rooms:
        ray.kill(room)
    point = Point(workers, count, count / seconds, workers / sleep, max(most, _memory()), seconds)
    print(
        f"{workers:4} workers: {point.rate:7.1f} of {point.ideal:7.1f} rows a second, "
        f"{point.memory_mb:.0f} MB, {count} rows in {seconds:.0f} s"
    )
    return point


def _leave(handles: Sequence[Any], seconds: float) -> None:
    """Leave the sleepers to their room, which is ended as a whole."""


def _memory() -> float:
    return anonymous_bytes(os.getpid()) / 1e6


def _plot(points: Sequence[Point], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(7, 7), sharex=True)
    workers = [point.workers for point in points]
    upper.plot(workers, [point.ideal for point in points], ":", label="if no worker ever waited")
    upper.plot(workers, [point.rate for point in points], ".-", label="measured")
    upper.set_xscale("log")
    upper.set_yscale("log")
    upper.set_ylabel("rows a second")
    upper.legend()
    lower.plot(workers, [point.memory_mb for point in points], ".-")
    lower.set_ylim(bottom=0)
    lower.set_ylabel("memory of the driver, MB")
    lower.set_xlabel("workers")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
