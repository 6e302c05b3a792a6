"""``python dev.py bench solvers``: what each solver makes of the demo model, by steps."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from demo.judge import judge
from demo.trials import Trial, small_trials
from devtools.contact_sheet import contact_sheet
from devtools.interval import share_of
from devtools.reference import relative_error
from pixart_core.sampling.solvers import SOLVERS

from .demo_model import GUIDANCE, DemoModel

STEPS = (2, 3, 4, 6, 8, 10, 14, 20, 25, 30, 40, 50)
_EXACT_STEPS = 200
_NEAR = 0.05
"""How far below its best adherence a solver may be where its curve has its knee."""

HOSTS = {
    "dpmpp_2m · sgm_uniform": ("dpmpp_2m", "sgm_uniform"),
    "dpmpp_2m · karras": ("dpmpp_2m", "karras"),
    "euler · normal": ("euler", "normal"),
    "ddim · ddim_uniform": ("ddim", "ddim_uniform"),
    "uni_pc · sgm_uniform": ("uni_pc", "sgm_uniform"),
    "deis · sgm_uniform": ("deis", "sgm_uniform"),
    "sa_solver · sgm_uniform": ("sa_solver", "sgm_uniform"),
    "lcm · sgm_uniform": ("lcm", "sgm_uniform"),
}
"""Samplers and schedulers of the host's own KSampler."""

_APART = {
    *(name for name, entry in SOLVERS.items() if entry.draws_noise or entry.timesteps),
    *("sa_solver · sgm_uniform", "lcm · sgm_uniform"),
}
"""Those that draw noise, or take other steps: they have no solution in common to be near to."""


@dataclass(frozen=True)
class Point:
    """One solver at one number of steps."""

    solver: str
    steps: int
    right: float
    """Share of the pictures with shape and colours as named."""
    low: float
    high: float
    distance: float | None
    """Relative L2 of the latents to those of DPM-Solver++ in 200 steps."""


class Studio:
    """The demo model, and a list of prompts with their seeds."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._demo = DemoModel()
        self._prompts = self._demo.prompts(trials)
        self.trials, self.pictures = list(trials), self._demo.pictures

    def ours(self, solver: str, steps: int) -> Tensor:
        """Return what PixArt Sampler ends with."""
        return self._demo.draw(self._prompts, solver, steps)

    @torch.inference_mode()
    def theirs(self, name: str, steps: int) -> Tensor:
        """Return what the host's KSampler ends with."""
        import comfy.sample

        sampler, scheduler = HOSTS[name]
        empty = self._prompts.empty
        rows = [comfy.sample.prepare_noise(empty[:1], trial.seed) for trial in self.trials]
        guidance = 1.0 if sampler == "lcm" else GUIDANCE
        found: Tensor = comfy.sample.sample(
            *(self._demo.model, torch.cat(rows), steps, guidance, sampler, scheduler),
            *(self._prompts.positive, self._prompts.negative, empty),
            disable_pbar=True,
            seed=0,
        )
        return found


def main(arguments: list[str]) -> int:
    """Draw everything and write table, plot and contact sheet; return 1 where a default fails."""
    parser = argparse.ArgumentParser(prog="dev.py bench solvers", description=__doc__)
    parser.add_argument("--pairs", type=int, default=32, help="prompts for each point")
    parser.add_argument("--steps", type=int, nargs="+", default=list(STEPS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks"))
    chosen = parser.parse_args(arguments)
    studio = Studio(small_trials()[: chosen.pairs])
    exact = studio.ours("DPM-Solver++", _EXACT_STEPS)
    points, sheet = _measure(studio, exact, _runs(studio, chosen.steps))
    chosen.out.mkdir(parents=True, exist_ok=True)
    _write(points, sheet, chosen.out, chosen.pairs)
    return _report(points, chosen.pairs)


Run = tuple[str, int, Callable[[], Tensor]]


def _runs(studio: Studio, steps: Sequence[int]) -> list[Run]:
    runs: list[Run] = []
    for name, entry in SOLVERS.items():
        counts = [count for count in steps if count <= entry.most_steps] or [entry.most_steps]
        runs += [(name, n, partial(studio.ours, name, n)) for n in counts]
    for name in HOSTS:
        runs += [(name, n, partial(studio.theirs, name, n)) for n in steps]
    return runs


def _measure(
    studio: Studio, exact: Tensor, runs: Sequence[Run]
) -> tuple[list[Point], list[tuple[Image.Image, bool | None]]]:
    points: list[Point] = []
    sheet: list[tuple[Image.Image, bool | None]] = []
    for name, steps, run in tqdm(runs, desc="solvers"):
        latents = run()
        pictures = studio.pictures(latents)
        hits = [
            judge(picture).matches(trial.scene)
            for picture, trial in zip(pictures, studio.trials, strict=True)
        ]
        share = share_of(hits)
        distance = None if name in _APART else relative_error(latents, exact)
        points.append(Point(name, steps, share.estimate, share.low, share.high, distance))
        sheet.append((pictures[0], hits[0]))
    return points, sheet


def knees(points: Sequence[Point]) -> dict[str, int]:
    """Return for each solver the fewest steps at which it is nearly as good as at its best."""
    found = {}
    for name in dict.fromkeys(point.solver for point in points):
        own = [point for point in points if point.solver == name]
        best = max(point.right for point in own)
        found[name] = min(point.steps for point in own if point.right >= best - _NEAR)
    return found


def _report(points: Sequence[Point], pairs: int) -> int:
    found = knees(points)
    print(table(points))
    default = SOLVERS["DPM-Solver++"].steps
    print(f"{pairs} prompts at 128 px a point; a knee is the fewest steps within 5 points of the")
    print(f"solver's best. DPM-Solver++ has its knee at {found['DPM-Solver++']}; default {default}")
    return int(found["DPM-Solver++"] > default)


def table(points: Sequence[Point]) -> str:
    """Return shares in percent by solver and steps, and distances below them, as Markdown."""
    steps = sorted({point.steps for point in points})
    found = knees(points)
    heads = ["solver", *(str(count) for count in steps), "knee"]
    lines = ["| " + " | ".join(heads) + " |", "|--" * len(heads) + "|"]
    for name in found:
        own = {point.steps: point for point in points if point.solver == name}
        cells = [_cell(own.get(count)) for count in steps]
        lines.append("| " + " | ".join([name, *cells, str(found[name])]) + " |")
    return "\n".join(lines)


def _cell(point: Point | None) -> str:
    if point is None:
        return ""
    distance = "" if point.distance is None else f" ({point.distance:.3f})"
    return f"{point.right:.0%}{distance}"


def _write(
    points: Sequence[Point],
    sheet: Sequence[tuple[Image.Image, bool | None]],
    folder: Path,
    pairs: int,
) -> None:
    title = (
        f"# Solvers by steps\n\nShare of {pairs} pictures at 128 px with shape and colours as "
        "named, and in brackets the relative distance of the latents to DPM-Solver++ in "
        f"{_EXACT_STEPS} steps. Written by `python dev.py bench solvers`. The demo model was not "
        "made for LCM or DMD.\n\n"
    )
    (folder / "solvers.md").write_text(title + table(points) + "\n", encoding="utf-8")
    figures: list[dict[str, Any]] = [asdict(point) for point in points]
    (folder / "solvers.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    contact_sheet(sheet).save(folder / "solvers-sheet.png")
    _plot(points, folder / "solvers.png")


def _plot(points: Sequence[Point], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(9, 11), sharex=True)
    for number, name in enumerate(dict.fromkeys(point.solver for point in points)):
        own = [point for point in points if point.solver == name]
        line = {"linestyle": "-" if name in SOLVERS else ":", "color": f"C{number}"}
        style = {**line, "marker": ".", "label": name}
        upper.plot([p.steps for p in own], [100 * p.right for p in own], **style)
        near = [(p.steps, p.distance) for p in own if p.distance is not None]
        if near:
            lower.plot(*zip(*near, strict=True), **style)
    upper.set_ylabel("pictures as named, %")
    lower.set_ylabel("relative distance to 200 steps")
    lower.set_yscale("log")
    lower.set_xscale("log")
    ticks = (1, *STEPS)
    lower.set_xticks(ticks, [str(steps) for steps in ticks])
    lower.set_xlabel("steps (dotted: ComfyUI's own samplers)")
    upper.legend(fontsize=7, ncol=2)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
