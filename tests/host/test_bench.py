"""The measurements run from end to end, on one block."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from devtools.bench import speed, travel


def test_speed_is_measured_against_everyone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--small", "--repeats", "1", "--steps", "2", "--device", "cpu", "--parts"]
    assert speed.main([*arguments, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "speed.json").read_text())
    (case,) = found["denoiser"]
    names = [one["name"] for one in case["peers"]]
    assert {"diffusers", "host, KSampler", "ours, KSampler", "ours without folds"} <= set(names)
    assert all(len(one["turns"]) == 1 for one in case["peers"])
    assert 0 < case["errors"]["ours"] <= 2e-6
    assert [one["phase"] for one in found["around"]] == ["t5", "vae"]
    assert "The whole, from prompt to picture" in capsys.readouterr().out
    assert (tmp_path / "speed.png").is_file()


def test_the_bench_can_travel(tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    assert travel.pack(folder) == 0
    assert (folder / "host" / "main.py").is_file()
    assert "torch==" in (folder / "requirements.txt").read_text()
    for name in ("run.sh", "nodes/load.py", "devtools/bench/speed.py", "demo/models"):
        assert (folder / name).exists()
