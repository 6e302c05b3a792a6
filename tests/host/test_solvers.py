"""Every solver against diffusers' pipelines, and the noise that each picture draws."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from devtools.parity_solvers import MODELS, Subject, compare, stock_latent, subjects
from devtools.pipelines import SWAPPED
from devtools.reference import relative_error
from pixart_core.sampling.solvers import SOLVERS

QUICK = {"IDDPM": 12, "DDIM": 10}
"""Steps in place of the many that some solvers take."""


@pytest.fixture(scope="module")
def models(pack: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    """The demo model and two with random weights, each twice."""
    return subjects(tmp_path_factory.mktemp("solvers"))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("solver", SWAPPED)
def test_a_solver_equals_the_reference(models: dict[str, Subject], solver: str, model: str) -> None:
    assert compare(models[model], solver, QUICK.get(solver, 0)) <= 1e-4


def test_every_solver_has_its_reference() -> None:
    assert set(SWAPPED) == set(SOLVERS)


def run(subject: Subject, solver: str, rows: int = 1, **settings: Any) -> Tensor:
    """Sample a batch with the nodes' own function; the noise of row n is that of seed n."""
    from pixart_pack.nodes.host.sampler import Settings, sample

    values = {"seed": 0, "steps": 4, "guidance": 4.5, "denoise": 1.0, **settings}
    latent = {"samples": torch.zeros(rows, 4, 16, 16), **values.pop("latent", {})}
    prompts = subject.prompts
    positive = [[prompts.positive, {}]]
    negative = [[prompts.negative[:, :2], {}]]
    with torch.inference_mode():
        out, _ = sample(
            subject.patcher, positive, negative, latent, Settings(solver=solver, **values)
        )
    found: Tensor = out["samples"]
    return found


@pytest.mark.parametrize("solver", ["DPM-Solver++", "SA-Solver", "LCM", "IDDPM"])
def test_a_row_alone_is_the_row_of_the_batch(models: dict[str, Subject], solver: str) -> None:
    whole = run(models["alpha-1024"], solver, rows=3, seed=9)
    for row in range(3):
        alone = run(models["alpha-1024"], solver, seed=9, latent={"batch_index": [row]})
        assert relative_error(alone[0], whole[row]) <= 1e-4


@pytest.mark.parametrize("solver", ["DPM-Solver++", "SA-Solver"])
def test_a_list_of_seeds_gives_the_pictures_of_each(
    models: dict[str, Subject], solver: str
) -> None:
    whole = run(models["alpha-1024"], solver, rows=2, seeds="7, 11")
    for row, seed in enumerate((7, 11)):
        alone = run(models["alpha-1024"], solver, seed=seed)
        assert relative_error(alone[0], whole[row]) <= 1e-4


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ("1, 2, 3", "found 3 seeds for 2 pictures"),
        ("1, x", "list of seeds cannot be read"),
        ("-1, 2", "list of seeds cannot be read"),
        (f"{2**64}, 1", "list of seeds cannot be read"),
        ("1" * 5000, "list of seeds cannot be read"),
    ],
)
def test_seeds_that_cannot_be_read(models: dict[str, Subject], seeds: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run(models["demo"], "auto", rows=2, seeds=seeds)


def test_timesteps_reach_the_network_as_they_are(models: dict[str, Subject]) -> None:
    subject, seen = models["demo"], []
    hook = subject.patcher.model.diffusion_model.t_embedder.register_forward_hook(
        lambda module, given, out: seen.append(given[0][0].item())
    )
    run(subject, "Euler", steps=5)
    assert seen == [999, 749.25, 499.5, 249.75, 0]
    seen.clear()
    stock_latent(subject)
    hook.remove()
    assert len(seen) == 20
    assert all(t == round(t) for t in seen)


def test_an_empty_batch(models: dict[str, Subject]) -> None:
    with pytest.raises(ValueError, match="a latent without pictures"):
        run(models["demo"], "DPM-Solver++", rows=0)


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "DMD"])
def test_interrupted_between_two_steps(models: dict[str, Subject], solver: str) -> None:
    import comfy.model_management as host

    calls = 0

    def interrupt(*_: Any) -> None:
        nonlocal calls
        calls += 1
        host.interrupt_current_processing(calls == 2)

    hook = models["demo"].patcher.model.diffusion_model.register_forward_hook(interrupt)
    try:
        with pytest.raises(host.InterruptProcessingException):
            run(models["demo"], solver, steps=20)
    finally:
        hook.remove()
        host.interrupt_current_processing(False)
    assert calls == 2


WIDTHS = "The prompt does not fit this PixArt model: found an embedding of shape"


@pytest.mark.parametrize(
    ("positive", "negative", "said"),
    [
        ((1, 0, 64), (1, 3, 64), "found an embedding without tokens"),
        ((1, 3, 64), (1, 0, 64), "found an embedding without tokens"),
        ((1, 3, 32), (1, 3, 64), WIDTHS),
        ((1, 3, 64), (1, 3, 128), WIDTHS),
        ((2, 3, 64), (1, 3, 64), "found 2 prompts for 1 pictures"),
    ],
    ids=str,
)
def test_prompts_that_do_not_fit(
    models: dict[str, Subject],
    positive: tuple[int, ...],
    negative: tuple[int, ...],
    said: str,
) -> None:
    from pixart_pack.nodes.host.sampler import Settings, sample

    prompts = [[[torch.randn(shape), {}]] for shape in (positive, negative)]
    latent = {"samples": torch.zeros(1, 4, 16, 16)}
    with pytest.raises(ValueError, match=said), torch.inference_mode():
        sample(models["alpha-1024"].patcher, *prompts, latent, Settings(0, 2, 4.5, "auto", 1.0))


@pytest.mark.parametrize("side", [15, 17])
def test_a_latent_of_an_odd_size(models: dict[str, Subject], side: int) -> None:
    with pytest.raises(ValueError, match=r"found 128 × (120|136) pixels, expected multiples of 16"):
        run(models["demo"], "auto", latent={"samples": torch.ones(1, 4, side, 16)})
