"""``python dev.py bench speed``: diffusers, the host's own PixArt and ours draw the same picture.

Random weights of the released size, the same for all; they take turns. T5, denoiser and VAE are
measured each in processes of their own. Table, plot and history go to benchmarks/. The exit code
is 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from devtools.bench.speed_table import bars, history, plot, table
from devtools.bench.turns import CALM, PREPARING, Peer, StepClock, machine, take_turns
from devtools.environment import ROOT

STEPS = {"cpu": 4, "cuda": 20}
_SHORT = 2
"""Steps of a run that shows who can run at all. (diffusers' pipeline takes one with DMD alone.)"""
_SIZES = {"cpu": "256,512", "cuda": "512,1024"}
_PHASES = ("denoiser", "t5", "vae")
_PRODUCTS = "products"
_PRODUCT_ROUNDS = 15
_SMALL_SIDE = "272"
"""The host's own cannot run 256 px."""


def main(arguments: list[str]) -> int:
    """Measure, write what was found, and return 1 where a bar is missed."""
    chosen = _parser().parse_args(arguments)
    if chosen.travel:
        from devtools.bench.travel import pack

        return pack(chosen.travel)
    _fill_in(chosen)
    if chosen.phase:
        print(json.dumps(_measured(chosen)))
        return 0
    found = {
        "machine": machine(chosen.device),
        "settings": {name: getattr(chosen, name) for name in ("device", "dtype", "steps", "small")},
        "products": _in_a_process(chosen, _PRODUCTS, "", "0") if chosen.device == "cpu" else {},
        "denoiser": _all_denoisers(chosen) if "denoiser" in chosen.phases else [],
        "around": [one for phase in ("t5", "vae") if phase in chosen.phases
                   for one in _both(chosen, phase)],
    }  # fmt: skip
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "speed.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    report = bars(found)
    text = table(found, report)
    (chosen.out / "speed.md").write_text(text, encoding="utf-8")
    history(chosen.out / "speed-history.jsonl", found)
    plot(found, chosen.out / "speed.png")
    print(text)
    return int(any(bar.is_missed for bar in report))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py bench speed", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--size", help="sides in pixels: 256,512,1024")
    parser.add_argument("--batch", default="1", help="pictures at a time: 1,4")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), help="default: fp32, on a card bf16")
    parser.add_argument("--steps", type=int, help="default: 4, on a card 20")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="one block, to try this out")
    parser.add_argument("--parts", action="store_true", help="ours without each shortcut, too")
    parser.add_argument("--phases", nargs="+", choices=_PHASES, default=list(_PHASES))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks")
    parser.add_argument(
        "--travel", type=Path, help="make a folder that runs this elsewhere, and do nothing else"
    )
    parser.add_argument("--phase", choices=(*_PHASES, _PRODUCTS), help=argparse.SUPPRESS)
    parser.add_argument("--who", help=argparse.SUPPRESS)
    return parser


def _fill_in(chosen: argparse.Namespace) -> None:
    chosen.device = chosen.device or ("cuda" if torch.cuda.is_available() else "cpu")
    chosen.size = chosen.size or (_SMALL_SIDE if chosen.small else _SIZES[chosen.device])
    chosen.dtype = chosen.dtype or ("bf16" if chosen.device == "cuda" else "fp32")
    chosen.steps = chosen.steps or STEPS[chosen.device]


def _products() -> dict[str, float]:
    """Return how many times as fast as by default this processor multiplies matrices.

    Of many, since a neighbour's load makes single ones of so short measurements up to twice as far.
    """
    from pixart_core.network.matmul import measure

    found = [measure() for _ in range(_PRODUCT_ROUNDS)]
    return {
        name: statistics.median(one["plain"].seconds / one[name].seconds for one in found)
        for name in ("onednn", "bf16")
    }


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _all_denoisers(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    return [
        _in_a_process(chosen, "denoiser", "", size=str(side), batch=str(batch))
        for side in _numbers(chosen.size)
        for batch in _numbers(chosen.batch)
    ]


def _both(chosen: argparse.Namespace, phase: str) -> list[dict[str, Any]]:
    """Measure one phase by both sides, process by process in turns."""
    sides = _numbers(chosen.size) if phase == "vae" else [0]
    found = []
    for side in sides:
        peers = {who: Peer(who) for who in ("diffusers", "ours")}
        for _ in range(2):
            for who, peer in peers.items():
                got = _in_a_process(chosen, phase, who, size=str(side))
                peer.turns += Peer(**got["peers"][0]).turns
        found.append(
            {"phase": phase, "side": side, "peers": [peer.as_json() for peer in peers.values()]}
        )
    return found


def _in_a_process(
    chosen: argparse.Namespace, phase: str, who: str, size: str, batch: str = "1"
) -> dict[str, Any]:
    command = [
        *(sys.executable, "-m", "devtools", "bench", "speed", "--phase", phase, "--who", who),
        *("--device", chosen.device, "--size", size, "--batch", batch, "--dtype", chosen.dtype),
        *("--steps", str(chosen.steps), "--repeats", str(chosen.repeats)),
        *(["--small"] if chosen.small else []),
        *(["--parts"] if chosen.parts else []),
    ]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if chosen.device == "cpu" else {}
    variables = {**os.environ, **CALM, **hidden}
    print(f"{phase} {who} {size} × {batch} …", file=sys.stderr, flush=True)
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, env=variables
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _measured(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure in this process: the denoisers at one size, or one side of what stands around."""
    if chosen.phase == "denoiser":
        return _denoisers(chosen)
    if chosen.phase == _PRODUCTS:
        return _products()
    from devtools.bench.around import decoder, encoder

    if chosen.phase == "t5":
        run = encoder(chosen.who, chosen.device, chosen.small)
    else:
        run = decoder(chosen.who, chosen.device, chosen.small, int(chosen.size))
    peers = take_turns({chosen.who: run}, chosen.repeats, 1, chosen.device)
    return {"peers": [peer.as_json() for peer in peers.values()]}


def _denoisers(chosen: argparse.Namespace) -> dict[str, Any]:
    from devtools.bench.peers import DTYPES, Peers, Task
    from devtools.bench.weights import model_of

    peers = Peers(model_of(chosen.small), chosen.device, chosen.dtype)
    task = Task(chosen.device, chosen.dtype, int(chosen.size), int(chosen.batch), chosen.steps)
    runs = peers.runs(task, chosen.parts)
    short = peers.runs(replace(task, steps=_SHORT), chosen.parts)
    reasons = {name: peers.why_not(run) for name, run in short.items()}
    able = {name: run for name, run in runs.items() if not reasons[name]}
    warm_ups = 2 if chosen.device == "cuda" else 0
    clock = None
    if chosen.device == "cpu":  # on a card each mark would have to wait for it
        clock = StepClock(task.steps)
        peers.tell(clock)
    found = take_turns(able, chosen.repeats, warm_ups, chosen.device, clock)
    if clock and task.steps > PREPARING + 1:
        untold = [name for name, peer in found.items() if not all(t.step for t in peer.turns)]
        assert not untold, f"the clock did not tell the steps of {untold}"
    errors = {"ours": peers.error(task, peers.ours)}
    if chosen.dtype == "bf16" or peers.in_bf16 is not None:
        errors["diffusers, bf16"] = peers.error_of_diffusers(task, DTYPES["bf16"])
    if peers.in_bf16 is not None:
        errors["ours, bf16"] = peers.error(task, peers.in_bf16)
    absent = [Peer(name, absent=reason) for name, reason in reasons.items() if reason]
    return {
        "side": task.side,
        "batch": task.batch,
        "steps": task.steps,
        "errors": errors,
        "peers": [peer.as_json() for peer in _in_order(runs, [*found.values(), *absent])],
    }


def _in_order(names: Sequence[str] | dict[str, Any], peers: list[Peer]) -> list[Peer]:
    order = list(names)
    return sorted(peers, key=lambda peer: order.index(peer.name))
