"""``python dev.py bench growth``: time and memory against pixels, batch, steps and prompt length.

Each sweep gives the exponent that was fitted and the one that the arithmetic has over the same
points. The exit code is 1 where time grows faster than the arithmetic by more than the margin.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from devtools.bench.peers import NEGATIVE_TOKENS, PROMPT_TOKENS, Peers, Task
from devtools.bench.turns import Turn, timed
from devtools.bench.weights import model_of
from devtools.environment import ROOT
from devtools.reference import Scale

_MARGIN = 0.15
"""Of the exponent: caches and threads are not arithmetic."""
_REPEATS = 3
_ENOUGH = 60.0
"""Seconds: a point that has taken these is not measured again. Its noise is a small part of it."""
_SWEEPS = {
    "pixels": (256, 384, 512, 768, 1024, 1536, 2048),
    "batch": (1, 2, 4, 8, 16),
    "steps": (1, 2, 4, 8, 16),
    "tokens": (8, 16, 32, 64, 120),
}
_SMALL = {"pixels": (128, 256, 384), "batch": (1, 2, 4), "steps": (2, 4, 8), "tokens": (8, 32, 120)}
_FIELDS = {"pixels": "side", "batch": "batch", "steps": "steps"}
_BASE = Task("cpu", "fp32", 256, 1, 2)


@dataclass(frozen=True)
class Sweep:
    """One thing grows, all else stays."""

    what: str
    values: tuple[float, ...]
    """Pixels are those of the whole picture."""
    seconds: tuple[float, ...]
    memory: tuple[float, ...]
    """Bytes beyond what was there before the run."""
    arithmetic: tuple[float, ...]
    """Multiplications and additions."""

    @property
    def exponent(self) -> float:
        """Return the fitted growth of time."""
        return fitted(self.values, self.seconds)

    @property
    def expected(self) -> float:
        """Return the growth of the arithmetic over the same points."""
        return fitted(self.values, self.arithmetic)

    @property
    def is_too_fast(self) -> bool:
        """Whether time grows faster than the arithmetic says."""
        return self.exponent > self.expected + _MARGIN


def fitted(values: Sequence[float], measured: Sequence[float]) -> float:
    """Return the slope of the logarithms."""
    slope, _ = np.polyfit(np.log(values), np.log(measured), 1)
    return float(slope)


def operations(scale: Scale, side: int, batch: int, steps: int, tokens: int) -> float:
    """Return what a guided run takes, as reference/performance.md section 2 counts it."""
    width, image = scale.heads * 72, (side // 16) ** 2
    block = 0.0
    for length in (tokens, NEGATIVE_TOKENS):
        block += image * (28 * width**2 + 4 * image * width + 4 * length * width)
        block += 4 * length * width**2
    return 2 * batch * steps * scale.layers * block / 2


def main(arguments: list[str]) -> int:
    """Measure every sweep, write plot and figures, and return 1 where something grows too fast."""
    chosen = _parser().parse_args(arguments)
    device = chosen.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = "bf16" if device == "cuda" else "fp32"
    model = model_of(chosen.small)
    peers = Peers(model, device, dtype)
    base = replace(_BASE, device=device, dtype=dtype, steps=chosen.steps)
    # What is measured once in a process belongs to no point.
    peers.draw(base, PROMPT_TOKENS)
    values = _SMALL if chosen.small else _SWEEPS
    sweeps = [
        sweep(
            what,
            [value for value in values[what] if what != "pixels" or value <= chosen.most],
            lambda task, tokens: peers.draw(task, tokens),
            base,
            model.scale,
            chosen.repeats,
        )
        for what in chosen.only
    ]
    chosen.out.mkdir(parents=True, exist_ok=True)
    figures = [{**asdict(one), "exponent": one.exponent, "expected": one.expected}
               for one in sweeps]  # fmt: skip
    (chosen.out / "growth.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    plot(sweeps, chosen.out / "growth.png")
    for one in sweeps:
        verdict = "  TOO FAST" if one.is_too_fast else ""
        print(f"{one.what:8} time grows with {one.exponent:.2f}, "
              f"the arithmetic with {one.expected:.2f}{verdict}")  # fmt: skip
    return int(any(one.is_too_fast for one in sweeps))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py bench growth", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--small", action="store_true", help="one block, few points")
    parser.add_argument("--only", nargs="+", choices=tuple(_SWEEPS), default=list(_SWEEPS))
    parser.add_argument("--most", type=int, default=2048, help="longest side in pixels")
    parser.add_argument("--repeats", type=int, default=_REPEATS)
    parser.add_argument("--steps", type=int, default=_BASE.steps, help="but where they grow")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks")
    return parser


def sweep(
    what: str,
    values: Sequence[int],
    draw: Callable[[Task, int], object],
    base: Task,
    scale: Scale,
    repeats: int,
) -> Sweep:
    """Measure one sweep; of a point's runs the fastest counts, and a long one has a single run."""
    seconds, memory, arithmetic = [], [], []
    for value in tqdm(values, desc=what, leave=False):
        task, tokens = point(what, value, base)
        turns: list[Turn] = []
        while len(turns) < repeats and sum(turn.wall for turn in turns) < _ENOUGH:
            turns.append(timed(lambda t=task, n=tokens: draw(t, n), task.device))  # type: ignore[misc]
        clock = "cpu" if task.device == "cpu" else "wall"
        seconds.append(min(getattr(turn, clock) for turn in turns))
        memory.append(float(max(turn.memory for turn in turns)))
        arithmetic.append(operations(scale, task.side, task.batch, task.steps, tokens))
    shown = [float(value**2 if what == "pixels" else value) for value in values]
    return Sweep(what, tuple(shown), tuple(seconds), tuple(memory), tuple(arithmetic))


def point(what: str, value: int, base: Task) -> tuple[Task, int]:
    """Return the task of one value, and the length of its prompt."""
    changed: dict[str, Any] = {} if what == "tokens" else {_FIELDS[what]: value}
    return replace(base, **changed), value if what == "tokens" else PROMPT_TOKENS


def plot(sweeps: Sequence[Sweep], path: Path) -> None:
    """Draw time and memory of every sweep, with the arithmetic through its first point."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(sweeps), 2, figsize=(10, 3 * len(sweeps)), squeeze=False)
    for one, (left, right) in zip(sweeps, axes, strict=True):
        scaled = [n * one.seconds[0] / one.arithmetic[0] for n in one.arithmetic]
        left.loglog(one.values, one.seconds, "o-", label=f"time, {one.exponent:.2f}")
        left.loglog(one.values, scaled, "--", label=f"arithmetic, {one.expected:.2f}")
        left.set_ylabel("seconds")
        left.legend()
        right.semilogx(one.values, [n / 1e9 for n in one.memory], "o-")
        right.set_ylabel("GB more")
        for panel in (left, right):
            panel.set_xlabel(one.what)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
