"""``python dev.py bench easycache``: what ComfyUI's step cache saves on our model, and costs.

EasyCache leaves out steps whose result hardly differs from the last ones. The demo model draws
prompts at 128 px, each with every setting in turn: seconds, forwards of the network,
adherence pair by pair, and the distance of the latent to that without it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from demo.judge import judge
from demo.trials import small_trials
from devtools.contact_sheet import contact_sheet
from devtools.interval import Interval, difference_of_shares
from devtools.reference import relative_error

from .demo_model import GUIDANCE, DemoModel

_SOLVER, _STEPS = "DPM-Solver++", 20
_HEADS = (
    *("reuse_threshold, start_percent to end_percent", "seconds a picture", "faster"),
    *(f"forwards of {_STEPS}", "adherence", "difference in points (95 %)"),
    "distance of the latent",
)
_SHOWN = 20
"""Pictures of each side on the sheet: one of its rows."""


@dataclass(frozen=True)
class Bar:
    """What a setting must reach."""

    faster: float
    """Than without, in the median picture."""
    points: float
    """Of adherence that may be lost at most."""


@dataclass(frozen=True)
class Cache:
    """What is set on EasyCache."""

    threshold: float
    start: float
    end: float
    """Between which shares of the run steps may be left out."""
    bar: Bar | None = None


CACHES = {
    "safe": Cache(0.1, 0.15, 0.95, Bar(1.4, 1.5)),
    # It ends earlier than the node does: the last steps take away what is left of the noise.
    "fast": Cache(0.3, 0.1, 0.85, Bar(1.8, 4.0)),
    "as the node comes": Cache(0.2, 0.15, 0.95),
}
"""The names are those of README; the last is for comparison."""


@dataclass
class Side:
    """What was drawn with one setting; the first is that without EasyCache."""

    name: str
    seconds: list[float] = field(default_factory=list)
    forwards: list[int] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    distance: list[float] = field(default_factory=list)
    pictures: list[Image.Image] = field(default_factory=list)


@dataclass(frozen=True)
class Figures:
    """One setting against none."""

    name: str
    pairs: int
    seconds: float
    """Of the median picture."""
    faster: float
    """Median of the ratios, picture by picture."""
    forwards: float
    """Of the mean picture, where 20 is all."""
    adherence: float
    difference: Interval
    distance: float
    """Relative L2 of the latents in the median."""

    def line(self) -> str:
        """Return the row of the table."""
        bounds = f"{100 * self.difference.low:+.1f} to {100 * self.difference.high:+.1f}"
        cells = [
            *(_named(self.name), f"{self.seconds:.2f}", f"{self.faster:.2f} ×"),
            *(f"{self.forwards:.1f}", f"{self.adherence:.1%}"),
            *(f"{100 * self.difference.estimate:+.1f} ({bounds})", f"{self.distance:.3f}"),
        ]
        return f"| {' | '.join(cells)} |"


def main(arguments: list[str]) -> int:
    """Draw, compare, write the table, and return 1 where a setting misses its bar."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench easycache",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path("benchmarks"))
    chosen = parser.parse_args(arguments)
    plain, *cached = _draw(chosen.pairs)
    figures = [_against(side, plain) for side in cached]
    chosen.out.mkdir(parents=True, exist_ok=True)
    _write(plain, figures, chosen.out)
    shown = [
        pair
        for side in (plain, *cached)
        for pair in list(zip(side.pictures, side.right, strict=True))[:_SHOWN]
    ]
    contact_sheet(shown).save(chosen.out / "easycache-sheet.png")
    print(_table(plain, figures))
    missed = [text for one in figures for text in missed_by(one, CACHES[one.name].bar)]
    print("\n".join(missed) or "every bar is met")
    return int(bool(missed))


def missed_by(figures: Figures, bar: Bar | None) -> list[str]:
    """Say which bars the figures miss."""
    if bar is None:
        return []
    found = []
    if figures.faster < bar.faster:
        found.append(f"{figures.name}: {figures.faster:.2f} ×, at least {bar.faster:g}")
    lost = -100 * figures.difference.estimate
    if lost > bar.points:
        found.append(f"{figures.name}: {lost:.1f} points lost, at most {bar.points:g}")
    return found


def _draw(pairs: int) -> list[Side]:
    demo, trials = DemoModel(), small_trials()[:pairs]
    forwards = _Counter()
    demo.model.model.diffusion_model.blocks[0].register_forward_pre_hook(forwards)
    models = [demo.model, *(_with_easycache(demo.model, cache) for cache in CACHES.values())]
    sides = [Side("without"), *map(Side, CACHES)]
    for model in models:  # what is made once is not the first picture's
        demo.draw(demo.prompts(trials[:1]), _SOLVER, _STEPS, model)
    for trial in tqdm(trials, desc="easycache", unit="prompt"):
        prompts = demo.prompts([trial])
        first = None
        for side, model in zip(sides, models, strict=True):
            forwards.count, began = 0, time.monotonic()
            latent = demo.draw(prompts, _SOLVER, _STEPS, model)
            side.seconds.append(time.monotonic() - began)
            side.forwards.append(forwards.count)
            first = latent if first is None else first
            side.distance.append(relative_error(latent, first))
            (picture,) = demo.pictures(latent)
            side.pictures.append(picture)
            side.right.append(judge(picture).matches(trial.scene))
    return sides


class _Counter:
    """Counts how often a module ran."""

    count = 0

    def __call__(self, *_: Any) -> None:
        self.count += 1


def _with_easycache(model: Any, cache: Cache) -> Any:
    from comfy_extras.nodes_easycache import EasyCacheNode

    return EasyCacheNode.execute(model, cache.threshold, cache.start, cache.end, False).args[0]


def _named(name: str) -> str:
    cache = CACHES[name]
    return f"{name}: {cache.threshold:g}, {cache.start:g} to {cache.end:g}"


def _against(side: Side, plain: Side) -> Figures:
    ratios = [ours / own for ours, own in zip(plain.seconds, side.seconds, strict=True)]
    return Figures(
        name=side.name,
        pairs=len(side.right),
        seconds=statistics.median(side.seconds),
        faster=statistics.median(ratios),
        forwards=statistics.mean(side.forwards),
        adherence=statistics.mean(side.right),
        difference=difference_of_shares(side.right, plain.right),
        distance=statistics.median(side.distance),
    )


def _table(plain: Side, figures: Sequence[Figures]) -> str:
    first = f"{statistics.median(plain.seconds):.2f} | 1 × | {statistics.mean(plain.forwards):.1f}"
    without = f"| without | {first} | {statistics.mean(plain.right):.1%} | | |"
    head, ruler = f"| {' | '.join(_HEADS)} |", "|--" * len(_HEADS) + "|"
    return "\n".join([head, ruler, without, *(one.line() for one in figures)])


def _write(plain: Side, figures: Sequence[Figures], folder: Path) -> None:
    title = (
        f"# EasyCache on the demo model\n\n{len(plain.right)} prompts at 128 px, {_SOLVER}, "
        f"{_STEPS} steps, guidance {GUIDANCE:g}. Written by `python dev.py bench easycache`.\n\n"
    )
    (folder / "easycache.md").write_text(title + _table(plain, figures) + "\n", encoding="utf-8")
    text = json.dumps([asdict(one) for one in figures], indent=1)
    (folder / "easycache.json").write_text(text + "\n", encoding="utf-8")
