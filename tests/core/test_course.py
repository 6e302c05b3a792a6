"""The noise levels that solvers go through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pixart_core.errors import SamplingError
from pixart_core.sampling.course import follow, own_sigmas
from pixart_core.sampling.noise import row_generators
from pixart_core.sampling.schedule import sigmas_of, timesteps_of, training_sigmas
from pixart_core.sampling.solve import Predicted, solve
from pixart_core.sampling.solvers import MOST_STEPS, SOLVERS, new_scheduler

SCHEDULE: dict[str, Any] = json.loads(
    (Path(__file__).parent / "testvectors.json").read_text(encoding="utf-8")
)["schedule"]

FREE = [name for name, entry in SOLVERS.items() if not entry.timesteps]
"""Those whose timesteps depend on the number of steps."""


def visited(sigmas: Tensor) -> list[float]:
    """The timesteps of all levels but the 0 at the end."""
    assert sigmas[-1] == 0
    timesteps: list[float] = timesteps_of(sigmas[:-1]).tolist()
    return timesteps


@pytest.mark.parametrize("steps", SCHEDULE["dpm_timesteps_diffusers"])
@pytest.mark.parametrize("solver", ["DPM-Solver++", "UniPC", "SA-Solver"])
def test_timesteps(solver: str, steps: str) -> None:
    wanted = SCHEDULE["dpm_timesteps_diffusers"][steps]
    assert visited(own_sigmas(solver, int(steps))) == wanted


@pytest.mark.parametrize(
    ("solver", "steps", "wanted"),
    [
        ("LCM", 4, [999, 759, 499, 259]),
        ("LCM", 8, [999, 879, 759, 639, 499, 379, 259, 139]),
        ("DMD", 1, [400]),
        ("DDIM", 4, [999, 749, 499, 249]),
        ("Euler", 5, [999, 749.25, 499.5, 249.75, 0]),
        ("IDDPM", 5, [999, 749, 500, 250, 0]),
    ],
)
def test_timesteps_of_the_others(solver: str, steps: int, wanted: list[float]) -> None:
    assert visited(own_sigmas(solver, steps)) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("solver", FREE)
def test_one_step_starts_at_pure_noise(solver: str) -> None:
    assert visited(own_sigmas(solver, 1)) == [MOST_STEPS]


def test_timesteps_and_levels_are_inverse() -> None:
    whole = torch.arange(1000)
    assert torch.equal(timesteps_of(sigmas_of(whole).float()), whole.double())
    between = torch.tensor([0.5, 123.25, 998.5])
    assert timesteps_of(sigmas_of(between)).tolist() == pytest.approx(between.tolist(), abs=1e-9)
    assert timesteps_of(torch.tensor([0.0, 1e9])).tolist() == [0, 999]


def test_denoise_takes_the_last_steps() -> None:
    whole = own_sigmas("DPM-Solver++", 20).tolist()
    assert own_sigmas("DPM-Solver++", 10, denoise=0.5).tolist() == whole[10:]


def test_start_and_end_cut_the_schedule() -> None:
    whole = own_sigmas("DPM-Solver++", 20).tolist()
    assert own_sigmas("DPM-Solver++", 20, start=5, end=8).tolist() == whole[5:9]
    assert own_sigmas("DPM-Solver++", 20, end=8).tolist() == whole[:9]
    assert own_sigmas("DPM-Solver++", 20, start=19).tolist() == whole[19:]
    for start, end in ((20, None), (8, 8), (9, 8)):
        with pytest.raises(SamplingError, match="no step left"):
            own_sigmas("DPM-Solver++", 20, start=start, end=end)


@pytest.mark.parametrize(
    ("steps", "denoise", "count"),
    [(999, 1.0, 999), (600, 0.5, 500), (20, 0.01, 10), (50, 0.04, 40), (20, 1e-9, 1), (1, 1.0, 1)],
)
def test_no_timestep_is_visited_twice(steps: int, denoise: float, count: int) -> None:
    timesteps = visited(own_sigmas("DPM-Solver++", steps, denoise))
    assert len(timesteps) == len(set(timesteps)) == count
    assert timesteps == sorted(timesteps, reverse=True)
    assert timesteps[-1] > 0


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("denoise", [1.0, 0.6, 0.41, 0.05])
def test_every_solver_follows_its_own_levels(solver: str, denoise: float) -> None:
    if SOLVERS[solver].timesteps and denoise < 1:
        with pytest.raises(SamplingError, match="cannot draw a part of a picture"):
            own_sigmas(solver, 1, denoise)
        return
    for steps in (1, 2, 7, 20, 30, 61, 100, 122, 333, 499, 900, 999):
        sigmas = own_sigmas(solver, min(steps, SOLVERS[solver].most_steps), denoise)
        found = follow(solver, sigmas).timesteps[: len(sigmas) - 1]
        assert found.tolist() == pytest.approx(visited(sigmas))
        assert len(set(found.tolist())) == len(found)


@pytest.mark.parametrize("solver", FREE)
def test_every_solver_may_stop_a_step_before_the_end(solver: str) -> None:
    for steps in (2, 7, 20, 50):
        sigmas = own_sigmas(solver, steps, end=steps - 1)
        assert len(sigmas) == steps
        found = follow(solver, sigmas).timesteps[: steps - 1]
        assert sigmas_of(found).tolist() == pytest.approx(sigmas[:-1].tolist(), rel=1e-3)


@pytest.mark.parametrize("steps", range(1, 1000, 3))
def test_no_timestep_is_below_zero(steps: int) -> None:
    sigmas = own_sigmas("DDIM", steps)
    assert (sigmas.diff() < 0).all()
    assert timesteps_of(sigmas[:1]).item() == 999


@pytest.mark.parametrize("solver", SOLVERS)
def test_levels_of_another_kind(solver: str) -> None:
    karras = torch.tensor([157.0, 40.5, 11.1, 3.3, 0.7, 0.09, 0.0])
    if SOLVERS[solver].timesteps:
        with pytest.raises(SamplingError, match=r"choose one that can: DPM-Solver\+\+, SA-Solver"):
            follow(solver, karras)
        return
    scheduler = follow(solver, karras)
    found = sigmas_of(scheduler.timesteps[:6])
    assert found.tolist() == pytest.approx(karras[:-1].tolist(), rel=0.02)
    if hasattr(scheduler, "sigmas"):
        assert scheduler.sigmas[:6].tolist() == pytest.approx(karras[:-1].tolist())
        assert scheduler.sigmas[-1] in (0, training_sigmas()[0].float())


def solved(solver: str, sigmas: Tensor, spread: float = 0.1) -> float:
    """The spread of what comes out where the exact answer to a state is known: a Gaussian's."""

    def denoise(state: Tensor, sigma: float, timestep: float) -> Predicted:
        clean = state * spread**2 / (spread**2 + sigma**2)
        return Predicted(clean, torch.zeros_like(clean))

    def on_step(*_: object) -> None:
        """Nothing is shown."""

    noise = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    picture = spread * torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(1))
    start = picture + float(sigmas[0]) * noise
    out = solve(solver, start, sigmas, denoise, on_step, row_generators([(0, 0)]))
    return float(out.std())


@pytest.mark.parametrize("solver", [name for name in FREE if SOLVERS[name].guided])
@pytest.mark.parametrize(("steps", "denoise"), [(50, 0.08), (30, 0.05), (30, 0.3), (45, 0.9)])
def test_no_noise_is_left(solver: str, steps: int, denoise: float) -> None:
    # Coarse steps may end below 0.1; what lies above it is noise.
    assert 0.05 < solved(solver, own_sigmas(solver, steps, denoise)) < 0.12


@pytest.mark.parametrize("solver", ["DPM-Solver++", "Euler", "UniPC"])
@pytest.mark.parametrize("highest", [157.4, 300.0, 700.0])
def test_levels_above_the_trained_ones(solver: str, highest: float) -> None:
    ramp = torch.linspace(highest ** (1 / 7), 0.02 ** (1 / 7), 60) ** 7
    sigmas = torch.cat([ramp, torch.zeros(1)])
    assert solved(solver, sigmas) == pytest.approx(0.1, rel=0.2)


def test_a_schedule_that_stops_early_ends_at_its_level() -> None:
    sigmas = own_sigmas("DPM-Solver++", 20, end=8)
    assert follow("DPM-Solver++", sigmas).sigmas[-1] == sigmas[-1] > 0
    for solver in ("DDIM", "IDDPM", "LCM"):
        sigmas = own_sigmas(solver, 20, end=8)
        assert len(follow(solver, sigmas).timesteps) == len(sigmas)


@pytest.mark.parametrize(
    "sigmas",
    [[1.0, 2.0, 0.0], [1.0, 1.0], [1.0], [], [float("nan"), 0.0], [1.0, -1.0], [[2.0, 1.0]]],
    ids=str,
)
@pytest.mark.parametrize("solver", SOLVERS)
def test_levels_that_do_not_fall(solver: str, sigmas: list[float]) -> None:
    with pytest.raises(SamplingError, match="each lower than the one before"):
        follow(solver, torch.tensor(sigmas))


def test_levels_too_dense_for_whole_timesteps() -> None:
    with pytest.raises(SamplingError, match="the same of the 1000 trained timesteps"):
        follow("LCM", torch.tensor([1.0, 0.9999, 0.0]))


def test_the_schedulers_are_those_of_the_table() -> None:
    for name, entry in SOLVERS.items():
        scheduler = new_scheduler(name)
        assert type(scheduler).__name__ == entry.scheduler
        assert scheduler.config.prediction_type == "epsilon"
        assert {key: scheduler.config[key] for key in entry.options} == dict(entry.options)
