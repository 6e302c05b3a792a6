"""The numbers of ``testvectors.json``: positions, sinusoids and the schedule."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pixart_core.errors import SamplingError
from pixart_core.network.positions import position_grid, scalar_embedding
from pixart_core.sampling.schedule import new_scheduler, set_timesteps, sigmas_of

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "testvectors.json").read_text(encoding="utf-8")
)
CPU = torch.device("cpu")


@pytest.mark.parametrize("case", VECTORS["pos_embed"]["cases"], ids=lambda case: case["name"])
def test_positions(case: dict[str, Any]) -> None:
    rows, columns = case["grid_hw"]
    grid = position_grid(rows, columns, 1152, case["R"], CPU)
    token = grid[case["row"] * columns + case["col"]]
    assert grid.dtype == torch.float32
    assert token[case["dims"]].tolist() == pytest.approx(case["values"], abs=2e-6)
    assert grid[1, 0].item() == pytest.approx(case["token1_dim0"], abs=2e-6)


@pytest.mark.parametrize("case", VECTORS["size_embedding"]["cases"], ids=lambda c: str(c["t"]))
def test_scalars(case: dict[str, Any]) -> None:
    (embedding,) = scalar_embedding(torch.tensor([case["t"]]), 256)
    # fp32 holds an angle of 1024 to 6e-5.
    assert embedding[case["dims"]].tolist() == pytest.approx(case["values"], abs=1e-4)


@pytest.mark.parametrize("steps", VECTORS["schedule"]["dpm_timesteps_diffusers"])
def test_timesteps(steps: str) -> None:
    scheduler = new_scheduler("DPM-Solver++")
    wanted = VECTORS["schedule"]["dpm_timesteps_diffusers"][steps]
    assert set_timesteps(scheduler, int(steps)).tolist() == wanted


def test_noise_levels() -> None:
    scheduler = new_scheduler("DPM-Solver++")
    for t, wanted in VECTORS["schedule"]["alphas_cumprod"].items():
        assert scheduler.alphas_cumprod[int(t)].item() == pytest.approx(wanted, rel=1e-5)
    dmd = VECTORS["schedule"]["dmd"]
    (sigma,) = sigmas_of(scheduler, torch.tensor([dmd["t"]])).tolist()
    assert sigma == pytest.approx(dmd["sigma"], rel=1e-5)


def test_denoise_takes_the_last_steps() -> None:
    whole = set_timesteps(new_scheduler("DPM-Solver++"), 20).tolist()
    half = set_timesteps(new_scheduler("DPM-Solver++"), 10, denoise=0.5).tolist()
    assert half == whole[10:]


@pytest.mark.parametrize(
    ("steps", "denoise", "count"),
    [(999, 1.0, 999), (600, 0.5, 500), (20, 0.01, 10), (50, 0.04, 40), (20, 1e-9, 1), (1, 1.0, 1)],
)
def test_no_timestep_is_visited_twice(steps: int, denoise: float, count: int) -> None:
    timesteps = set_timesteps(new_scheduler("DPM-Solver++"), steps, denoise).tolist()
    assert len(timesteps) == len(set(timesteps)) == count
    assert timesteps == sorted(timesteps, reverse=True)
    assert timesteps[-1] > 0


def test_without_diffusers_the_pip_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    # None is how the import system itself marks a package that must not be found.
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(SamplingError, match="-m pip install") as error:
        new_scheduler("DPM-Solver++")
    assert sys.executable in str(error.value)
