"""The measurements run from end to end, on one block."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from devtools.bench import easycache, speed, travel
from devtools.interval import Interval


def test_speed_is_measured_against_everyone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--small", "--repeats", "1", "--steps", "4", "--device", "cpu", "--parts"]
    assert speed.main([*arguments, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "speed.json").read_text())
    (case,) = found["denoiser"]
    names = [one["name"] for one in case["peers"]]
    assert {"diffusers", "host, KSampler", "ours, KSampler", "ours without folds"} <= set(names)
    assert all(len(one["turns"]) == 1 for one in case["peers"])
    assert all(0 < one["turns"][0]["step"] < one["turns"][0]["cpu"] for one in case["peers"])
    assert found["products"].keys() == {"onednn", "bf16"}
    assert 0 < case["errors"]["ours"] <= 2e-6
    assert [one["phase"] for one in found["around"]] == ["t5", "vae"]
    printed = capsys.readouterr().out
    assert "The whole, from prompt to picture" in printed
    assert "\n| gelu | " in printed
    assert (tmp_path / "speed.png").is_file()


def test_the_bench_can_travel(tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    assert travel.pack(folder) == 0
    assert (folder / "host" / "main.py").is_file()
    assert "torch==" in (folder / "requirements.txt").read_text()
    for name in ("run.sh", "nodes/load.py", "devtools/bench/speed.py", "demo/models"):
        assert (folder / name).exists()


def test_the_step_cache_of_the_host_is_measured(tmp_path: Path) -> None:
    easycache.main(["--pairs", "2", "--out", str(tmp_path)])
    safe, fast, _ = json.loads((tmp_path / "easycache.json").read_text())
    assert safe["pairs"] == 2
    assert 2 < fast["forwards"] < safe["forwards"] < 20
    assert 0 < safe["distance"] < 0.5 > fast["distance"] > 0
    assert (tmp_path / "easycache-sheet.png").is_file()


def test_a_cache_that_costs_too_much_is_told() -> None:
    figures = easycache.Figures(
        name="safe", pairs=256, seconds=1.0, faster=1.5, forwards=12.0, adherence=0.9,
        difference=Interval(-0.02, -0.04, 0.0), distance=0.1,
    )  # fmt: skip
    assert easycache.missed_by(figures, easycache.Bar(1.4, 2.5)) == []
    assert easycache.missed_by(figures, easycache.Bar(1.6, 1.5)) == [
        "safe: 1.50 ×, at least 1.6",
        "safe: 2.0 points lost, at most 1.5",
    ]
