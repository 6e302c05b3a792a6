"""Runs that are compared take turns: A B C A B C …, so that what else goes on meets all of them."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from devtools.memory import PeakMemory

PREPARING = 2
"""Steps: captions are projected in the first, short ones folded in the second."""
CALM = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""Environment of a process that is measured: threads that wait must not count as work."""


@dataclass(frozen=True)
class Turn:
    """One run."""

    wall: float
    cpu: float
    """Seconds of all threads together."""
    memory: int
    """Bytes at the peak: of the card, or what anonymous memory grew by."""
    step: float = 0.0
    """Of ``cpu``, what one step took after those in which things are prepared; 0 where not told."""


@dataclass
class StepClock:
    """Tells the time of a step by the moments at which a network begins to run."""

    steps: int
    """Of a run."""
    moments: list[float] = field(default_factory=list)

    def mark(self, *_: object) -> None:
        """Note a moment; may be a module's hook."""
        self.moments.append(time.process_time())

    def per_step(self) -> float:
        """Return the median of the steps after those that prepare; 0 where there are none.

        The run's end is the last moment. Some run the network twice in a step.
        """
        runs_a_step, rest = divmod(len(self.moments) - 1, self.steps)
        if rest or not runs_a_step:
            return 0.0
        begins = self.moments[::runs_a_step][PREPARING:]
        lengths = [end - begin for begin, end in pairwise(begins)]
        return statistics.median(lengths) if lengths else 0.0


@dataclass
class Peer:
    """One of those that are compared, and its runs."""

    name: str
    turns: list[Turn] = field(default_factory=list)
    absent: str = ""
    """Why it was not measured."""

    def median(self, what: str = "wall") -> float:
        """Return the median of wall, cpu, step or memory."""
        return statistics.median(getattr(turn, what) for turn in self.turns)

    def ratio(self, other: Peer, what: str = "wall") -> tuple[float, float, float]:
        """Return how many times as fast this one is: median, least and most of the rounds."""
        rounds = zip(self.turns, other.turns, strict=True)
        ratios = [getattr(b, what) / getattr(a, what) for a, b in rounds]
        return statistics.median(ratios), min(ratios), max(ratios)

    def as_json(self) -> dict[str, Any]:
        """Return what goes into a file."""
        return asdict(self)


def take_turns(
    runs: Mapping[str, Callable[[], object]],
    repeats: int,
    warm_ups: int,
    device: str,
    clock: StepClock | None = None,
) -> dict[str, Peer]:
    """Run each ``warm_ups`` times, then all in turns ``repeats`` times."""
    for run in tqdm(runs.values(), desc="warming up", leave=False):
        for _ in range(warm_ups):
            timed(run, device)
    peers = {name: Peer(name) for name in runs}
    order = [name for _ in range(repeats) for name in runs]
    for name in tqdm(order, desc="runs", leave=False):
        peers[name].turns.append(timed(runs[name], device, clock))
    return peers


def timed(run: Callable[[], object], device: str, clock: StepClock | None = None) -> Turn:
    """Run once and return what it took."""
    on_card = device == "cuda"
    if clock:
        clock.moments.clear()
    if on_card:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    with PeakMemory() as memory:
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        if on_card:
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if clock:
            clock.mark()
    peak = torch.cuda.max_memory_allocated() if on_card else memory.growth
    return Turn(wall, cpu, peak, clock.per_step() if clock else 0.0)


def machine(device: str) -> dict[str, str]:
    """Name what the figures depend on."""
    import diffusers
    import transformers

    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    found = {
        "processor": f"{names[0] if names else platform.processor()}, "
        f"{torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "load": f"{os.getloadavg()[0]:.1f} before",
    }
    if device == "cuda":
        found["card"] = torch.cuda.get_device_name()
        found["cuDNN"] = str(torch.backends.cudnn.version())
    return found
