"""The arithmetic of growth, of memory and of the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from devtools.bench import growth
from devtools.bench.growth import Sweep, fitted, operations, plot, point, sweep
from devtools.bench.memory import Stages, bar_of, graphs, report
from devtools.bench.peers import PROMPT_TOKENS, Task
from devtools.bench.start import parse
from devtools.bench.turns import Turn
from devtools.reference import FULL

BASE = Task("cpu", "fp32", 256, 1, 2)


def test_an_exponent_is_found_again() -> None:
    assert fitted((1, 2, 4, 8), (3, 12, 48, 192)) == pytest.approx(2)
    assert fitted((10, 100), (5, 5)) == pytest.approx(0)


@pytest.mark.parametrize(("side", "terahertz"), [(256, 0.585), (512, 2.44), (1024, 13.0)])
def test_operations_are_those_of_the_reference(side: int, terahertz: float) -> None:
    # reference/performance.md, section 2: of two samples, less what short captions save.
    assert operations(FULL, side, 1, 1, 24) / 1e12 == pytest.approx(terahertz, rel=0.06)


def test_growth_faster_than_the_arithmetic_is_told() -> None:
    good = Sweep("batch", (1, 2, 4), (1.0, 2.0, 4.1), (1, 1, 1), (1, 2, 4))
    assert not good.is_too_fast
    assert replace(good, seconds=(1.0, 2.5, 6.5)).is_too_fast


def test_a_sweep_changes_one_thing() -> None:
    assert point("tokens", 64, BASE) == (BASE, 64)
    assert point("pixels", 512, BASE) == (replace(BASE, side=512), PROMPT_TOKENS)
    assert point("batch", 4, BASE) == (replace(BASE, batch=4), PROMPT_TOKENS)


def test_a_sweep_is_measured_and_drawn(tmp_path: Path) -> None:
    asked: list[tuple[Task, int]] = []
    found = sweep("steps", [1, 2], lambda *one: asked.append(one), BASE, FULL, 2)
    assert [task.steps for task, _ in asked] == [1, 1, 2, 2]
    assert found.arithmetic[1] == 2 * found.arithmetic[0]
    plot([replace(found, seconds=(1.0, 2.0))], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").is_file()


def test_a_long_point_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def timed(run: Callable[[], object], device: str) -> Turn:
        run()
        return Turn(61.0 if asked[-1] == 512 else 1.0, 1.0, 0)

    monkeypatch.setattr(growth, "timed", timed)
    sweep("pixels", [256, 512], lambda task, _: asked.append(task.side), BASE, FULL, 3)
    assert asked == [256, 256, 256, 512]


def test_the_bars_of_memory(capsys: pytest.CaptureFixture[str]) -> None:
    models = {"t5": 10 * 10**9, "model": 2 * 10**9}
    assert bar_of(models, freed=True) == 13.5e9
    assert bar_of(models, freed=False) == 14e9
    assert not report(Stages(models, {"start": 10**9, "prompt": 13 * 10**9}), freed=True)
    assert report(Stages(models, {"prompt": 15 * 10**9}), freed=False)
    assert "MISSED" in capsys.readouterr().out


def test_each_stage_begins_with_what_the_last_one_saved() -> None:
    names = {"text_encoders": "t5", "diffusion_models": "model", "vae": "vae"}
    prompt, picture, whole = graphs(names, 512, 2).values()
    assert {node["class_type"] for node in prompt.values()} == {
        "PixArtT5Loader", "PixArtTextEncode", "PixArtSaveConditioning",
    }  # fmt: skip
    for graph in (picture, whole):
        loaders = {node["class_type"] for node in graph.values()}
        assert "PixArtT5Loader" not in loaders
        links = [v for node in graph.values() for v in node["inputs"].values() if type(v) is list]
        assert all(link[0] in graph for link in links)


def test_what_the_pack_imports_is_added_up() -> None:
    report_ = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:      1500 |       1500 |   pixart_pack.nodes\n"
        "import time:       500 |       2000 | pixart_pack\n"
        "import time:    900000 |     900000 | devtools.inprocess\n"
        "a warning of somebody\n"
    )
    start = parse(report_, ("diffusers",))
    assert start.seconds == pytest.approx(0.002)
    assert start.slowest[0] == ("pixart_pack.nodes", 0.0015)
    assert start.heavy == ("diffusers",)
