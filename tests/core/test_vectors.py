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
from pixart_core.sampling.schedule import sigmas_of, training_sigmas
from pixart_core.sampling.solvers import new_scheduler

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


def test_noise_levels() -> None:
    alphas = new_scheduler("DPM-Solver++").alphas_cumprod
    for t, wanted in VECTORS["schedule"]["alphas_cumprod"].items():
        assert alphas[int(t)].item() == pytest.approx(wanted, rel=1e-5)
    assert training_sigmas() == pytest.approx(((1 - alphas) / alphas).sqrt().double(), rel=1e-6)
    dmd = VECTORS["schedule"]["dmd"]
    (sigma,) = sigmas_of(torch.tensor([dmd["t"]])).tolist()
    assert sigma == pytest.approx(dmd["sigma"], rel=1e-5)


def test_without_diffusers_the_pip_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    # None is how the import system itself marks a package that must not be found.
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(SamplingError, match="-m pip install") as error:
        new_scheduler("DPM-Solver++")
    assert sys.executable in str(error.value)
