"""The arithmetic of what is measured."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from devtools.bench.speed_table import Bar, bars, history, plot, table
from devtools.bench.turns import Peer, StepClock, Turn, take_turns


def peer(name: str, *seconds: float) -> Peer:
    return Peer(name, [Turn(one, 2 * one, 10**9) for one in seconds])


def found(**seconds: list[float]) -> dict[str, Any]:
    """Return a whole measurement with these seconds, at 512 px on a processor."""
    names = {
        "ours": "ours, KSampler",
        "diffusers": "diffusers",
        "onednn": "diffusers, oneDNN",
        "host": "host, KSampler",
        "host_onednn": "host, KSampler, oneDNN",
        "bf16": "ours, bf16",
    }
    peers = [peer(names[name], *values).as_json() for name, values in seconds.items()]
    absent = Peer("diffusers, compiled", absent="no card").as_json()
    case = {"side": 512, "batch": 1, "steps": 3, "errors": {"ours": 1e-6, "ours, bf16": 0.01,
            "diffusers, bf16": 0.011}, "peers": [*peers, absent]}  # fmt: skip
    return {
        "machine": {"processor": "one"},
        "settings": {"device": "cpu", "dtype": "fp32", "steps": 3, "small": False},
        "denoiser": [case],
        "around": [],
    }


def test_a_part_is_worth_what_its_absence_costs() -> None:
    measured = found(ours=[2.0, 3.0, 4.0], diffusers=[4.0, 4.0, 4.0], bf16=[1.0, 1.0, 1.0])
    (case,) = measured["denoiser"]
    case["peers"] += [
        peer("ours without folds", 3.0, 3.0, 8.0).as_json(),
        peer("ours, bf16 without folds", 2.0, 1.0, 2.0).as_json(),
        peer("ours without any", 2.0, 6.0, 8.0).as_json(),
    ]
    lines = table(measured, []).splitlines()
    assert "| folds | 1.50 (1.00 to 2.00) | 2.00 (1.00 to 2.00) |" in lines
    assert "| any | 2.00 (1.00 to 2.00) |  |" in lines


def test_a_ratio_is_taken_round_by_round() -> None:
    # A slow moment meets both: the ratio of medians would be 1.5.
    ours, theirs = peer("ours", 1, 10, 2), peer("theirs", 2, 20, 4)
    assert ours.ratio(theirs) == (2, 2, 2)
    assert peer("a", 1, 1).ratio(peer("b", 2, 4), "cpu") == (3, 2, 4)


def test_runs_take_turns() -> None:
    order: list[str] = []
    runs = {name: (lambda name=name: order.append(name)) for name in "ABC"}
    peers = take_turns(runs, 3, 1, "cpu")
    assert "".join(order) == "ABC" + "ABC" * 3
    assert [len(one.turns) for one in peers.values()] == [3, 3, 3]


def test_a_step_is_told_by_where_the_network_begins() -> None:
    # Two runs of the network in each of four steps; the first two steps are slow.
    clock = StepClock(4, [0.0, 5.0, 10.0, 14.0, 18.0, 19.0, 20.0, 21.5, 23.0])
    assert clock.per_step() == 2.5
    assert StepClock(4, [0.0, 1.0, 2.0]).per_step() == 0.0
    assert StepClock(2, [0.0, 1.0, 2.0]).per_step() == 0.0


def test_a_clock_hears_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    # Asked as a run begins, by each of its four steps, and twice as it ends.
    monkeypatch.setattr("time.process_time", itertools.count(step=3).__next__)
    clock = StepClock(4)

    def run() -> None:
        for _ in range(4):
            clock.mark()

    (one,) = take_turns({"A": run}, 2, 0, "cpu", clock).values()
    assert [turn.step for turn in one.turns] == [4.5, 4.5]


def test_steps_are_compared_where_all_are_known() -> None:
    ours, theirs = Turn(5.0, 9.0, 0, 1.0), Turn(6.0, 9.0, 0, 2.0)
    one = found(ours=[1.0], diffusers=[2.0])
    case = one["denoiser"][0]
    case["peers"] = [
        Peer(n, [t]).as_json() for n, t in (("ours, KSampler", ours), ("diffusers", theirs))
    ]
    assert "| ours, KSampler | 5.000 | 9.000 | 1.000 | 0.00 | 2.00 (2.00 to 2.00) |" in table(
        one, []
    )


def test_bars_hold_and_are_missed() -> None:
    good = found(
        ours=[1.0] * 3, diffusers=[2.3] * 3, onednn=[1.2] * 3, host=[2.1] * 3,
        host_onednn=[1.2] * 3, bf16=[0.5] * 3,
    )  # fmt: skip
    assert not any(bar.is_missed for bar in bars(good))
    slow = found(
        ours=[1.0] * 3, diffusers=[2.3] * 3, onednn=[1.05] * 3, host=[2.1] * 3,
        host_onednn=[1.2] * 3, bf16=[0.5] * 3,
    )  # fmt: skip
    missed = [bar.text for bar in bars(slow) if bar.is_missed]
    assert missed == ["512 px: ours, KSampler, times as fast as diffusers, oneDNN"]
    good["denoiser"][0]["errors"]["ours"] = 3e-6
    assert [bar.text for bar in bars(good) if bar.is_missed] == ["512 px: error of a step"]


def test_what_was_not_measured_is_said_and_not_missed() -> None:
    some = bars(found(ours=[1.0], diffusers=[2.0]))
    unmeasured = [bar for bar in some if bar.found is None]
    assert len(unmeasured) == 4
    assert not any(bar.is_missed for bar in unmeasured)
    assert "not measured" in str(unmeasured[0])


@pytest.mark.parametrize(("value", "at_least", "missed"), [(1, True, True), (1, False, False)])
def test_a_bar_has_a_side(value: float, at_least: bool, missed: bool) -> None:
    assert Bar("x", value, 2, at_least).is_missed == missed


def test_table_plot_and_history(tmp_path: Path) -> None:
    one = found(ours=[1.0, 1.2], diffusers=[2.0, 2.4])
    text = table(one, bars(one))
    assert "| ours, KSampler | 1.100 | 2.200 | 1.00 | 2.00 (2.00 to 2.00) |" in text
    assert "| diffusers, compiled | cannot run: no card |  |  |  |" in text
    assert "On a graphics card: not measured" in text
    plot(one, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    for _ in range(2):
        history(tmp_path / "history.jsonl", one)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["seconds"]["512 px × 1: diffusers"] for line in lines] == [2.2, 2.2]
