"""What the demo model is to expect where words leave something open."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from demo.expectation import Posterior, log_prior
from demo.lessons import alphas_of
from demo.scenes import SEEN, SHAPES, TEMPLATES, UNSEEN, Scene, random_scene, settled
from demo.stencils import FORMS, Stencils, form_of

STENCILS = Stencils(96, 64)
POSTERIOR = Posterior(STENCILS)
EVERYTHING = TEMPLATES[0]


def noisy_of(latents: Tensor, alphas: Tensor) -> Tensor:
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    return alphas.sqrt() * latents + (1 - alphas).sqrt() * noise


def every_scene() -> tuple[list[Scene], Tensor]:
    """All that training shows without words, with how often it does, the slow way."""
    sizes = {"small": 0.005, "": 0.99, "large": 0.005}
    places = {"left": 1 / 300, "": 149 / 150, "right": 1 / 300}
    scenes = [
        Scene(shape, colour, ground, size=size, place=place)
        for shape, colour, ground in SEEN
        for size in sizes
        for place in places
    ]
    return scenes, torch.tensor([sizes[s.size] * places[s.place] for s in scenes]) / len(SEEN)


@pytest.mark.parametrize("named", [{}, {"shape": "star"}, {"colour": "red", "place": "centre"}])
def test_it_is_the_mean_of_all_scenes_weighed_by_their_likelihood(named: dict[str, str]) -> None:
    scenes, shares = every_scene()
    fits = torch.tensor(
        [
            all(
                getattr(scene, name) == value.replace("centre", "") for name, value in named.items()
            )
            for scene in scenes
        ]
    )
    latents = STENCILS.latents(scenes)
    alphas = torch.tensor([0.9999, 0.3, 0.05, 0.003]).view(-1, 1, 1, 1)
    noisy = noisy_of(latents[[5, 700, 1200, 1500]], alphas)
    distances = (noisy[:, None] - alphas[:, None].sqrt() * latents).square().sum((2, 3, 4))
    scores = shares.log() - distances.double() / (2 * (1 - alphas.view(-1, 1)))
    weights = scores.masked_fill(~fits, -float("inf")).softmax(1).float()
    found = POSTERIOR.expectation(noisy, alphas, log_prior(named).expand(4, -1, -1))
    assert torch.allclose(found.latents, torch.einsum("ns,schw->nchw", weights, latents), atol=1e-3)
    covered = torch.einsum(
        "ns,sihw->nihw", weights, STENCILS.covered[[form_of(scene) for scene in scenes]]
    )
    assert torch.allclose(found.covered, covered, atol=1e-3)
    contested = torch.einsum(
        "ns,sihw->nihw", weights, STENCILS.contested[[form_of(scene) for scene in scenes]]
    )
    assert torch.allclose(found.contested, contested, atol=1e-3)


def test_priors_are_what_training_shows_without_words() -> None:
    rng = random.Random(0)
    count = 40_000
    drawn = Counter(form_of(settled(random_scene(rng), {}, rng)) for _ in range(count))
    frequency = torch.tensor([drawn[form] / count for form in range(len(FORMS))])
    shares = log_prior({}).exp()
    assert shares.sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(shares.sum(1), frequency, atol=0.006)
    rare = torch.tensor([bool(size or place) for _, size, place in FORMS])
    assert abs(shares[rare].sum() - frequency[rare].sum()) < 0.003
    assert 0.01 < shares[rare].sum() < 0.02
    assert (shares > 0).sum() == 9 * len(SEEN)


def test_a_caption_that_names_everything_leaves_one_scene() -> None:
    scenes = [
        Scene("circle", "blue", "red", size="large", place="centre"),
        Scene("star", "green", "white", place="left"),
    ]
    assert not {(s.shape, s.colour, s.ground) for s in scenes} & UNSEEN
    priors = torch.stack([log_prior(scene.named(EVERYTHING)) for scene in scenes])
    found = POSTERIOR.expectation(torch.zeros(2, 4, 8, 12), torch.full((2, 1, 1, 1), 0.5), priors)
    assert torch.allclose(found.latents, STENCILS.latents(scenes), atol=1e-5)
    assert torch.allclose(
        found.covered, STENCILS.covered[[form_of(scene) for scene in scenes]], atol=1e-5
    )
    assert torch.equal(
        found.contested.round(), STENCILS.contested[[form_of(scene) for scene in scenes]]
    )


def test_words_that_fit_no_scene_are_refused() -> None:
    shape, colour, ground = min(UNSEEN)
    with pytest.raises(ValueError, match=r"name one of demo\.scenes\.SEEN"):
        log_prior({"shape": shape, "colour": colour, "ground": ground})
    assert log_prior({"shape": shape, "colour": colour}).isfinite().any()


def test_where_nothing_shows_it_is_the_mean_of_all_that_fit() -> None:
    scenes, shares = every_scene()
    noisy, alphas = torch.randn(1, 4, 8, 12), torch.zeros(1, 1, 1, 1)
    found = POSTERIOR.expectation(noisy, alphas, log_prior({})[None])
    mean = torch.einsum("s,schw->chw", shares, STENCILS.latents(scenes))
    assert torch.allclose(found.latents[0], mean, atol=1e-4)


def test_an_ideal_denoiser_draws_every_shape_without_words() -> None:
    scenes, _ = every_scene()
    latents = STENCILS.latents(scenes)
    solver = DPMSolverMultistepScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    solver.set_timesteps(20)
    x = torch.randn(48, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    for t in solver.timesteps:
        alphas = alphas_of(t.expand(len(x)))
        right = POSTERIOR.expectation(x, alphas, log_prior({}).expand(len(x), -1, -1)).latents
        x = solver.step((x - alphas.sqrt() * right) / (1 - alphas).sqrt(), t, x).prev_sample
    distances, nearest = torch.cdist(x.flatten(1), latents.flatten(1)).min(1)
    assert distances.median() < 0.05 * latents.flatten(1).norm(dim=1).mean()
    drawn = Counter(scenes[index].shape for index in nearest.tolist())
    assert set(drawn) == set(SHAPES)
    assert max(drawn.values()) < 24
