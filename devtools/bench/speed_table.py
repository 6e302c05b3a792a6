"""Table, bars, plot and history of ``dev.py bench speed``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devtools.bench.turns import Peer, Turn

OURS = "ours, KSampler"
_FP32_ERROR = 2e-6
"""Most relative L2 of a step to diffusers'."""


@dataclass(frozen=True)
class Bar:
    """A ratio, time or error that should reach a bar."""

    text: str
    found: float | None
    """None where one of the two was not measured."""
    bar: float
    at_least: bool = True

    @property
    def is_missed(self) -> bool:
        """Whether what was found is not good enough."""
        if self.found is None:
            return False
        return self.found < self.bar if self.at_least else self.found > self.bar

    def __str__(self) -> str:
        word = "at least" if self.at_least else "at most"
        if self.found is None:
            return f"{self.text}: not measured ({word} {self.bar:g})"
        verdict = "MISSED" if self.is_missed else "holds"
        return f"{self.text}: {self.found:.3g} ({word} {self.bar:g}; {verdict})"


_RATIOS = {
    ("cpu", 256): [
        (OURS, "diffusers, oneDNN", 1.15),
        ("ours, bf16", "diffusers", 3.0),
    ],
    ("cpu", 512): [
        (OURS, "diffusers, oneDNN", 1.1),
        (OURS, "host, KSampler, oneDNN", 1.15),
        (OURS, "host, KSampler", 2.0),
        ("ours, bf16", "host, KSampler", 3.0),
    ],
    ("cuda", 1024): [
        (OURS, "diffusers", 1.3),
        ("ours, KSampler, compiled", "diffusers, compiled", 1.1),
        (OURS, "host, KSampler", 1.2),
    ],
}
"""By device and side: who, against whom, and how many times as fast. (At 256 px the host cannot
run; diffusers' default stands for it.)"""
_STEP_HEAD = ("CPU seconds of a step",)
_OF_A_STEP = (
    "\nTimes as fast: by the CPU seconds of a step after the first two, in which captions are "
    "projected and folded; these are in the seconds of the whole."
)
_WORD = " without "
_WHOLE = {"ours": OURS, "ours, bf16": "ours, bf16"}
"""Whose runs without a part are told by these words, and who ran with all."""
_PARTS = "How many times as long without each of our shortcuts as with all:\n"
_PRODUCTS = (
    "The processor's products of matrices, against those of fp32 by default: by oneDNN "
    "{onednn:.2f} times as fast, in bf16 {bf16:.2f} times.\n"
)
_MOST_SECONDS = {("cuda", 1024): 0.56}
"""For 20 steps."""


def peers_of(case: Mapping[str, Any]) -> dict[str, Peer]:
    """Return the peers of a case that were measured, by name."""
    found = {
        one["name"]: Peer(one["name"], [Turn(**turn) for turn in one["turns"]], one["absent"])
        for one in case["peers"]
    }
    return {name: peer for name, peer in found.items() if peer.turns}


def bars(found: Mapping[str, Any]) -> list[Bar]:
    """Return every bar for what was measured; none for the times of one block."""
    settings, report = found["settings"], []
    for case in found["denoiser"]:
        side, errors = case["side"], case["errors"]
        if settings["dtype"] == "fp32":
            text = f"{side} px: error of a step"
            report.append(Bar(text, errors["ours"], _FP32_ERROR, at_least=False))
        name = "ours" if settings["dtype"] == "bf16" else "ours, bf16"
        if name in errors:
            text = f"{side} px: error of a step in bf16, over diffusers'"
            ratio = errors[name] / errors["diffusers, bf16"]
            report.append(Bar(text, ratio, 1.0, at_least=False))
        if not settings["small"] and case["batch"] == 1:
            report += _speed_bars(settings["device"], case)
    return report


def _speed_bars(device: str, case: Mapping[str, Any]) -> list[Bar]:
    peers, place = peers_of(case), (device, case["side"])
    what = _compared(device, peers)
    report = []
    for ours, theirs, bar in _RATIOS.get(place, ()):
        both = ours in peers and theirs in peers
        ratio = peers[ours].ratio(peers[theirs], what)[0] if both else None
        unit = "a step, " if what == "step" else ""
        text = f"{case['side']} px: {unit}{ours}, times as fast as {theirs}"
        report.append(Bar(text, ratio, bar))
    if place in _MOST_SECONDS and OURS in peers:
        seconds = peers[OURS].median()
        report.append(Bar(f"{case['side']} px: seconds", seconds, _MOST_SECONDS[place], False))
    return report


def table(found: Mapping[str, Any], report: Sequence[Bar]) -> str:
    """Return all of it as Markdown."""
    settings = found["settings"]
    lines = [
        "# Speed\n",
        "Written by `python dev.py bench speed`. Random weights, the same for all; runs take "
        "turns. Medians of the rounds; the last column is the median of each round's ratio to "
        "diffusers, with the least and the most. GB: at the peak, on a processor beyond what was "
        "there before.\n",
        ", ".join(f"{name} {value}" for name, value in found["machine"].items()) + ".\n",
    ]
    if found.get("products"):
        lines.append(_PRODUCTS.format(**found["products"]))
    if settings["small"]:
        lines.append("One block: the times say nothing about the whole model.\n")
    for case in found["denoiser"]:
        lines += _denoiser_lines(settings, case)
    for case in found["around"]:
        name = {"t5": "T5, both prompts", "vae": f"VAE, {case['side']} px"}[case["phase"]]
        lines += [f"\n## {name}\n", *_rows(case, settings["device"])]
    lines += _whole(found)
    lines += ["\n## Bars\n", *(f"- {bar}" for bar in report)]
    if settings["device"] == "cpu":
        lines.append("- On a graphics card: not measured.")
    return "\n".join(lines) + "\n"


def _denoiser_lines(settings: Mapping[str, Any], case: Mapping[str, Any]) -> list[str]:
    title = (
        f"\n## Denoising, {case['side']} px, {case['batch']} at a time, {case['steps']} guided "
        f"steps, {settings['dtype']}\n"
    )
    errors = ", ".join(f"{name} {error:.1e}" for name, error in case["errors"].items())
    return [
        title,
        *_rows(case, settings["device"]),
        *_parts(case, settings["device"]),
        f"\nError of a step to diffusers in fp32: {errors}.",
    ]


def _compared(device: str, peers: Mapping[str, Peer]) -> str:
    """Return what is compared: a step where it is known, else the whole."""
    if device != "cpu":
        return "wall"
    known = all(turn.step for peer in peers.values() for turn in peer.turns)
    return "step" if known else "cpu"


def _rows(case: Mapping[str, Any], device: str) -> list[str]:
    """Compare seconds, on a processor its own, which do not count what others do there.

    A step stands for the many of a picture: what is prepared in the first two is in the other
    columns alone.
    """
    peers = peers_of(case)
    what = _compared(device, peers)
    heads = ["", "seconds", "CPU seconds", *_STEP_HEAD[what != "step" :], "GB", "times as fast"]
    lines = [_row(heads), _row(["--"] * len(heads))]
    for one in case["peers"]:
        name = one["name"]
        if name not in peers:
            lines.append(_row([name, f"cannot run: {one['absent']}", *[""] * (len(heads) - 2)]))
            continue
        peer = peers[name]
        clocks = ("wall", "cpu", "step") if what == "step" else ("wall", "cpu")
        lines.append(
            _row([name, *(f"{peer.median(clock):.3f}" for clock in clocks),
                  f"{peer.median('memory') / 1e9:.2f}", _ratio(peer, peers["diffusers"], what)])
        )  # fmt: skip
    return lines if what != "step" else [*lines, _OF_A_STEP]


def _parts(case: Mapping[str, Any], device: str) -> list[str]:
    """Say of each shortcut, where ours ran without it, what it is worth."""
    peers = peers_of(case)
    what = _compared(device, peers)
    kinds = {kind: name for kind, name in _WHOLE.items() if name in peers}
    parts = {name.partition(_WORD)[2]: None for name in peers if _WORD in name}
    if not parts:
        return []
    lines = ["\n" + _PARTS, _row(["", *kinds]), _row(["--"] * (1 + len(kinds)))]
    for part in parts:
        cells = []
        for kind, name in kinds.items():
            without = peers.get(f"{kind}{_WORD}{part}")
            cells.append("" if without is None else _ratio(peers[name], without, what))
        lines.append(_row([part, *cells]))
    return lines


def _ratio(peer: Peer, other: Peer, what: str) -> str:
    ratio, least, most = peer.ratio(other, what)
    return f"{ratio:.2f} ({least:.2f} to {most:.2f})"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _whole(found: Mapping[str, Any]) -> list[str]:
    """Sum the medians of T5, denoiser and VAE, which ran apart."""
    around = {(case["phase"], case["side"]): peers_of(case) for case in found["around"]}
    lines = []
    for case in found["denoiser"]:
        text, vae = around.get(("t5", 0)), around.get(("vae", case["side"]))
        if not text or not vae or case["batch"] != 1:
            continue
        sums = {
            who: sum(part.median() for part in (text[who], peers_of(case)[name], vae[who]))
            for who, name in (("diffusers", "diffusers"), ("ours", OURS))
        }
        lines.append(
            f"- {case['side']} px: diffusers {sums['diffusers']:.2f} s, ours {sums['ours']:.2f} s"
        )
    return ["\n## The whole, from prompt to picture\n", *lines] if lines else []


def history(path: Path, found: Mapping[str, Any]) -> None:
    """Add the medians to a file with a line for each time that this was run."""
    medians = {
        f"{case['side']} px × {case['batch']}: {name}": round(peer.median(), 4)
        for case in found["denoiser"]
        for name, peer in peers_of(case).items()
    }
    steps = {
        name: round(seconds, 4)
        for case in found["denoiser"]
        for peer, one in peers_of(case).items()
        if (seconds := one.median("step"))
        and (name := f"{case['side']} px × {case['batch']}: {peer}")
    }
    line = {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "machine": found["machine"],
        "settings": found["settings"],
        "seconds": medians,
        "CPU seconds of a step": steps,
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def plot(found: Mapping[str, Any], path: Path) -> None:
    """Draw the seconds of every peer, a panel for each case."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    cases = [*found["denoiser"], *found["around"]]
    height = 1 + len(cases) + 0.35 * sum(len(case["peers"]) for case in cases)
    figure, axes = pyplot.subplots(len(cases), 1, figsize=(9, height), squeeze=False)
    for case, (panel,) in zip(cases, axes, strict=True):
        peers = peers_of(case)
        names = list(peers)[::-1]
        panel.barh(names, [peers[name].median() for name in names], color="#4878a8")
        for row, name in enumerate(names):
            walls = [turn.wall for turn in peers[name].turns]
            panel.plot(walls, [row] * len(walls), "k|")
        panel.set_title(f"{case.get('phase', 'denoising')}, {case['side'] or 'any'} px")
        panel.set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
