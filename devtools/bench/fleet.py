"""``python dev.py bench fleet``: what the fleet adds to a prompt, and what two workers gain.

The demo model draws one list of prompts: on one ComfyUI by a plain client, on the same worker
through Ray, and then by one and by two workers, and in batches.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demo.trials import small_trials
from devtools.client import HostClient
from devtools.environment import ROOT, host_folder
from devtools.models import demo_models
from devtools.placing import furnish
from pixart_fleet.cluster import Share, dismiss, hiring, joined
from pixart_fleet.crew import DEPTH, Crew, Ended
from pixart_fleet.host import HostFacts, default_python
from pixart_fleet.jobs import Job, make_jobs
from pixart_fleet.manifest import Manifest
from pixart_fleet.merging import groups
from pixart_fleet.rows import Row
from pixart_fleet.running import Record
from pixart_fleet.worker import Task, Worker
from pixart_fleet.workflow import Workflow, make_workflow, read_workflow

_MOST_ADDED_MS = 30.0
_LEAST_SPEED_UP = 1.5
_ONE_THREAD = "OMP_NUM_THREADS"
_BATCHES = (1, 2, 4, 8)
_WORKFLOW = ROOT / "workflows" / "api" / "text_to_image.json"


@dataclass(frozen=True)
class Figures:
    """What was measured; seconds are of the median prompt, rates are rows a second."""

    rows: int
    alone_seconds: float
    """By a plain client, one prompt at a time."""
    added_ms: float
    """To the host's own time for a row, where a worker has one row at a time: from the driver to
    the picture and its line on the disk."""
    gap_ms: float
    """Between rows, where the next one waits in the host's queue, as it does in a run."""
    rates: dict[str, float]
    """By how many workers, and by how many rows in a batch."""
    start_seconds: float
    """Of Ray and the first host."""


def main(arguments: list[str]) -> int:
    """Measure, print and write the figures; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="dev.py bench fleet", description=__doc__)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--side", type=int, default=128, help="of a picture, in pixels")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("benchmarks"))
    chosen = parser.parse_args(arguments)
    # As on a machine with a card for each worker: none can take what belongs to another.
    os.environ.setdefault(_ONE_THREAD, "1")
    with tempfile.TemporaryDirectory() as folder:
        furnish(Path(folder, "base"), demo_models())
        facts = HostFacts(host_folder(), default_python(), Path(folder, "base", "models"), ROOT)
        workflow = _workflow(chosen.side, chosen.steps)
        figures = _measure(facts, workflow, _jobs(workflow, chosen.rows), Path(folder))
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(figures), indent=1)
    (chosen.out / "fleet.json").write_text(text + "\n", encoding="utf-8")
    return _report(figures)


def _workflow(side: int, steps: int) -> Workflow:
    workflow = read_workflow(_WORKFLOW)
    size = {("5", "width"): side, ("5", "height"): side, ("6", "steps"): steps}
    return make_workflow(workflow.with_values(size), _WORKFLOW)


def _jobs(workflow: Workflow, count: int) -> list[Job]:
    trials = small_trials()
    rows = [
        Row(number, {("3", "text"): trials[number % len(trials)].prompt, ("6", "seed"): number})
        for number in range(count)
    ]
    return make_jobs(rows, workflow)


def _measure(facts: HostFacts, workflow: Workflow, jobs: Sequence[Job], folder: Path) -> Figures:
    alone = asyncio.run(_alone(Task(facts, workflow, 600), jobs))
    rates: dict[str, float] = {}
    started: list[float] = []
    with _crew(facts, workflow, 1, started) as draw:
        added, gap = (draw(_singly(jobs), folder / f"depth-{n}", n).added_ms for n in (1, DEPTH))
        for batch in _BATCHES:
            drawn = draw(list(groups(jobs, workflow, batch)), folder / f"batch-{batch}", DEPTH)
            rates[f"1 x {batch}"] = len(jobs) / drawn.seconds
    with _crew(facts, workflow, 2, started) as draw:
        rates["2 x 1"] = len(jobs) / draw(_singly(jobs), folder / "two", DEPTH).seconds
    return Figures(len(jobs), alone, added, gap, rates, started[0])


def _singly(jobs: Sequence[Job]) -> list[tuple[Job, ...]]:
    return [(job,) for job in jobs]


async def _alone(task: Task, jobs: Sequence[Job]) -> float:
    """Return the seconds of the median prompt on one ComfyUI, from its sending to its picture."""
    worker = Worker(task)
    await worker.ready()
    client = HostClient(worker.host.address)
    took = []
    for job in jobs:
        began = time.monotonic()
        result = await asyncio.to_thread(client.run, task.workflow.with_values(job.values))
        await asyncio.to_thread(client.image, result.images()[0])
        took.append(time.monotonic() - began)
    await worker.stop()
    return statistics.median(took)


@dataclass(frozen=True)
class _Drawn:
    seconds: float
    ended: list[Ended]

    @property
    def added_ms(self) -> float:
        """What came to the host's own time, for each row."""
        own = sum(one.seconds for one in self.ended)
        return (self.seconds - own) / len(self.ended) * 1000


Draw = Callable[[list[tuple[Job, ...]], Path, int], _Drawn]


@contextmanager
def _crew(
    facts: HostFacts, workflow: Workflow, workers: int, started: list[float]
) -> Iterator[Draw]:
    """Have workers ready, and give what draws groups and records them, as ``run`` does."""
    began, share = time.monotonic(), Share(1.0, 0.0)
    task = Task(facts, workflow, 600)
    with joined(None, workers, share), Crew(hiring(task, share), dismiss, workers) as crew:

        def draw(todo: list[tuple[Job, ...]], out: Path, depth: int) -> _Drawn:
            ended: list[Ended] = []
            count, crew.depth = sum(map(len, todo)), depth
            with Manifest(out) as manifest, Record(manifest, count, 0) as record:
                began = time.monotonic()
                for burst in crew.work(todo):
                    record.add(burst, crew.ready)
                    ended += burst
                return _Drawn(time.monotonic() - began, ended)

        _warm(crew, workflow, workers)
        started.append(time.monotonic() - began)
        yield draw


def _warm(crew: Crew, workflow: Workflow, workers: int) -> None:
    """Have every worker load its models: only then is a row a row."""
    places: list[dict[Any, Any]] = [{("6", "seed"): 10_000 + n} for n in range(8 * workers)]
    jobs = make_jobs([Row(line, one) for line, one in enumerate(places)], workflow)
    while crew.ready < workers:
        todo, jobs = jobs[:1], jobs[1:] or jobs
        for _ in crew.work([todo]):
            pass
    for _ in crew.work([job] for job in jobs):
        pass


def _report(figures: Figures) -> int:
    print(f"one ComfyUI, a plain client: {1 / figures.alone_seconds:6.2f} rows a second")
    for name, rate in figures.rates.items():
        workers, batch = name.split(" x ")
        print(f"{workers} worker(s), batches of {batch}: {rate:6.2f} rows a second")
    speed_up = figures.rates["2 x 1"] / figures.rates["1 x 1"]
    print(f"Ray and the first worker start in {figures.start_seconds:.1f} s")
    print(f"the fleet adds {figures.added_ms:.1f} ms a row (at most {_MOST_ADDED_MS:g}),")
    print(f"and {figures.gap_ms:.1f} ms where the next row waits in the host")
    print(f"two workers over one: {speed_up:.2f} (at least {_LEAST_SPEED_UP:g})")
    return int(figures.added_ms > _MOST_ADDED_MS or speed_up < _LEAST_SPEED_UP)
