"""``python dev.py adherence``: how often a picture shows what its prompt says.

Without --against: the fixed lists, and the effects of guidance, negative and empty prompt, each
with its bar. With it: the 256 pairs at 128 px under two settings, pair by pair.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from demo.scenes import SHAPES
from demo.trials import bucket_trials, small_trials, square_trials
from devtools.client import HostClient
from devtools.contact_sheet import contact_sheet
from devtools.drawing import Artist, Outcome
from devtools.effects import Effect, effect_of_guidance, effect_of_negative, effect_of_nothing
from devtools.interval import Interval, difference_of_shares, share_of
from devtools.models import demo_models
from devtools.server import HostServer

_GUIDANCE_PAIRS = 64
_NAME_WIDTH = 34

Property = Callable[[Outcome], bool]


@dataclass(frozen=True)
class Row:
    """A share of some trials that should reach a bar; 0 is none."""

    name: str
    hits: list[bool]
    bar: float = 0.0

    @property
    def share(self) -> Interval:
        """The share with its interval."""
        return share_of(self.hits)

    @property
    def is_missed(self) -> bool:
        """Whether the share lies below the bar."""
        return self.share.estimate < self.bar


def main(arguments: list[str]) -> int:
    """Draw, judge, report, and return 1 if a bar is missed."""
    chosen = _parser().parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    models = demo_models(chosen.models) if chosen.models else demo_models()
    with HostServer(models) as server:
        client = HostClient(server.address)
        ours = Artist(client, chosen.setting)
        if chosen.against is None:
            return _measure(ours, chosen.out)
        return _compare(ours, Artist(client, chosen.against), chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py adherence",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--setting",
        default="",
        help="inputs of the workflow's nodes: 'steps=10 PixArtT5Loader.precision=bf16'",
    )
    parser.add_argument("--against", help="the setting to compare with; '' is the workflow as is")
    parser.add_argument(
        "--points",
        type=float,
        help="with --against: most percentage points that may be lost (default: not judged)",
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the report")
    parser.add_argument("--models", type=Path, help="folder of the three files (default: demo's)")
    return parser


def _measure(artist: Artist, out: Path) -> int:
    small = artist.attempt(small_trials(), "128 px")
    square = artist.attempt(square_trials(), "256 x 256")
    oblong = artist.attempt(bucket_trials(), "buckets")
    plain = artist.with_setting("guidance=1").attempt(small_trials()[:_GUIDANCE_PAIRS], "unguided")
    guidance = effect_of_guidance(small[:_GUIDANCE_PAIRS], plain)
    negative, avoiding = effect_of_negative(artist)
    nothing, varied = effect_of_nothing(artist)
    rows, effects = rows_of(small, square, oblong), [guidance, negative, nothing]
    judged = [(o.picture, o.is_right) for o in (*small, *square, *oblong)]
    _write(out, judged, [*avoiding, *varied], _as_json(rows, effects, [*small, *square, *oblong]))
    _print_wrong([*small, *square, *oblong])
    return report(rows, effects)


def rows_of(
    small: Sequence[Outcome], square: Sequence[Outcome], oblong: Sequence[Outcome]
) -> list[Row]:
    """Return the table of the fixed lists, with the bars."""
    everything = [*small, *square, *oblong]
    return [
        _row("128 px: both colours", small, _has_colours),
        _row("128 px: shape and colours", small, _is_right, 0.95),
        *(_row(f"  {shape}", _of(small, shape), _is_right) for shape in SHAPES),
        _row("256 x 256: both colours", square, _has_colours, 0.90),
        _row("256 x 256: shape and colours", square, _is_right, 0.70),
        _row("other buckets: shape and colours", oblong, _is_right, 0.90),
        _row("unseen combinations", [o for o in everything if o.trial.is_unseen], _is_right, 0.85),
        _row("size", [o for o in everything if o.trial.scene.size], lambda o: o.has_size, 0.85),
        _row("place", [o for o in everything if o.trial.scene.place], lambda o: o.has_place, 0.85),
    ]


def _has_colours(outcome: Outcome) -> bool:
    return outcome.has_colours


def _is_right(outcome: Outcome) -> bool:
    return outcome.is_right


def _of(outcomes: Sequence[Outcome], shape: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.trial.scene.shape == shape]


def _row(name: str, outcomes: Sequence[Outcome], holds: Property, bar: float = 0.0) -> Row:
    return Row(name, [holds(outcome) for outcome in outcomes], bar)


def report(rows: Sequence[Row], effects: Sequence[Effect]) -> int:
    """Print both tables, and return 1 if a bar is missed."""
    print(f"\n{'':{_NAME_WIDTH}} {'pairs':>5} {'right':>8}   95 % interval    at least")
    for row in rows:
        share, bar = row.share, f"{row.bar:8.0%}" if row.bar else ""
        bounds = f"{share.low:6.1%} – {share.high:6.1%}"
        verdict = "  MISSED" if row.is_missed else ""
        print(
            f"{row.name:{_NAME_WIDTH}} {len(row.hits):5} {share.estimate:8.1%}   {bounds} {bar}"
            f"{verdict}"
        )
    print()
    for effect in effects:
        print(effect.text + ("" if effect.as_it_should else "  MISSED"))
    missed = any(row.is_missed for row in rows) or not all(e.as_it_should for e in effects)
    return int(missed)


def _compare(ours: Artist, theirs: Artist, chosen: argparse.Namespace) -> int:
    names = [chosen.setting or "as it is", chosen.against or "as it is"]
    sides = [
        artist.attempt(small_trials(), name)
        for artist, name in zip((ours, theirs), names, strict=True)
    ]
    hits = [[outcome.is_right for outcome in side] for side in sides]
    difference = difference_of_shares(*hits)
    judged = [(o.picture, o.is_right) for side in sides for o in side]
    rows = [Row(name, side) for name, side in zip(names, hits, strict=True)]
    content = _as_json(rows, [], [*sides[0], *sides[1]])
    _write(chosen.out, judged, [], {**content, "difference": asdict(difference)})
    report(rows, [])
    verdict = "a difference" if difference.excludes_zero else "no difference that counts"
    print(
        f"{100 * difference.estimate:+.1f} points "
        f"({100 * difference.low:+.1f} to {100 * difference.high:+.1f}): {verdict}"
    )
    return int(chosen.points is not None and 100 * difference.estimate < -chosen.points)


def _write(
    out: Path,
    judged: Sequence[tuple[Image.Image, bool]],
    others: Sequence[Image.Image],
    content: dict[str, Any],
) -> None:
    sheet = contact_sheet([*judged, *((picture, None) for picture in others)])
    sheet.save(out / "adherence.png")
    (out / "adherence.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    print(f"contact sheet: {out / 'adherence.png'}\nfigures: {out / 'adherence.json'}")


def _as_json(
    rows: Sequence[Row], effects: Sequence[Effect], outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    return {
        "rows": [
            {"name": row.name, "pairs": len(row.hits), **asdict(row.share), "bar": row.bar}
            for row in rows
        ],
        "effects": [asdict(effect) for effect in effects],
        "pairs": [
            {**asdict(o.trial), "seen": asdict(o.verdict), "right": o.is_right} for o in outcomes
        ],
    }


def _print_wrong(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if not outcome.is_right:
            trial, seen = outcome.trial, outcome.verdict
            shown = f"{seen.colour or '?'} {seen.shape or '?'} on {seen.ground or '?'}"
            where = f"{trial.width} x {trial.height}, seed {trial.seed}"
            print(f"  {where}: {trial.prompt!r} shows {shown}")
