"""Training of the demo model: its loop with real networks, for a few steps."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from demo.captions import Captioner, load_tokenizer
from demo.denoiser import Pair, Pictures, Trainer, contested, new_pair
from demo.drawn import Drawn, draw_sets
from demo.mending import mend
from demo.recipe import PictureSet, Recipe, Stage
from demo.scenes import random_scene
from demo.vae import patch_means
from devtools.environment import host_folder
from devtools.reference import relative_error

RECIPE = Recipe(
    stages=(
        Stage(2, bucket_share=0.0, weight_limit=2000, timestep_power=0.7),
        Stage(2, bucket_share=1.0, weight_limit=60, timestep_power=1.0),
    ),
    small_batch=4,
    bucket_batch=4,
    steps_between_sheets=1,
    steps_between_saves=1,
    empty_captions=0.25,
)


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner(
        load_tokenizer(host_folder() / "comfy" / "text_encoders" / "t5_tokenizer"), RECIPE
    )


def pictures(width: int, height: int) -> Pictures:
    rng = random.Random(0)
    scenes = [random_scene(rng) for _ in range(6)]
    return Pictures(scenes, torch.randn(6, 4, height // 8, width // 8).half())


def run(captioner: Captioner, state: Path, stop_at: int = 99) -> list[int]:
    """Train, and return the steps at which a sheet was due; stop as a kill would."""
    seen: list[int] = []

    def look(pair: Pair, step: int) -> None:
        seen.append(step)
        if step == stop_at:
            raise KeyboardInterrupt

    trainer = Trainer(RECIPE, captioner, torch.device("cpu"))
    trainer.run(pictures(128, 128), [pictures(176, 352), pictures(512, 128)], state, look)
    return seen


def test_a_killed_run_goes_on_where_it_was(captioner: Captioner, tmp_path: Path) -> None:
    state = tmp_path / "denoiser.pt"
    with pytest.raises(KeyboardInterrupt):
        run(captioner, state, stop_at=2)
    assert torch.load(state, weights_only=True)["step"] == 2
    assert run(captioner, state) == [3, 4]
    assert run(captioner, state) == []
    assert [path.name for path in tmp_path.iterdir()] == ["denoiser.pt"]


@pytest.mark.parametrize(("height", "width"), [(128, 128), (256, 256), (128, 512), (352, 176)])
def test_an_untrained_network_answers_with_its_input(height: int, width: int) -> None:
    pair = new_pair(0).requires_grad_(False)
    x = torch.randn(2, 4, height // 8, width // 8)
    ids = torch.randint(3, 100, (2, 5))
    found = pair(x, torch.tensor([999, 10]), ids, torch.ones_like(ids))
    assert relative_error(found, x) < 0.1


def test_what_tells_shapes_apart_is_known() -> None:
    tokens = contested("large", "", 256, 192)
    assert tokens.shape == (1, 24, 32)
    far, middle = tokens[0, 0, 0], tokens[0, 12, 16]
    assert [far, middle] == [0, 0]
    # The corner of a square, which no circle has.
    assert tokens[0, 12 - 6, 16 - 6] == 1
    assert contested("large", "left", 256, 192)[0, :, :16].sum() > tokens[0, :, :16].sum()
    assert contested("small", "", 256, 192).sum() < tokens.sum()


def test_a_latent_is_the_mean_of_its_patch() -> None:
    black, white = (patch_means(torch.full((1, 3, 8, 8), value)) for value in (-1.0, 1.0))
    half = torch.full((1, 3, 8, 8), -1.0)
    half[..., :4] = 1.0
    assert torch.allclose(patch_means(half), (black + white) / 2, atol=1e-6)
    assert (white[0, :3] - black[0, :3]).min() > 1.5


def test_the_empty_rows_come_last(captioner: Captioner) -> None:
    rng = random.Random(0)
    ids, mask = captioner([random_scene(rng) for _ in range(3)], empty=2)
    assert len(ids) == len(mask) == 5
    assert mask.sum(1)[-2:].tolist() == [1, 1]
    assert ids[-2:, 0].tolist() == [1, 1]
    assert (mask.sum(1)[:3] > 1).all()


def test_the_denoiser_learns_to_mend_what_it_drew(captioner: Captioner) -> None:
    recipe = replace(RECIPE, mending_steps=5, mending_round=2)
    trainer = Trainer(recipe, captioner, torch.device("cpu"))
    sets = [PictureSet(64, 64, 3), PictureSet(128, 64, 2)]
    drawn = draw_sets(trainer.average, captioner, sets, random.Random(0))
    assert [part.course.end.shape for part in drawn] == [(3, 4, 8, 8), (2, 4, 8, 16)]
    assert all(part.course.end.shape == part.right.shape for part in drawn)
    assert drawn[0].course.states.shape == (3, 20, 4, 8, 8)
    before = trainer.average.transformer.final_layer.linear.weight.clone()
    rounds: list[int] = []
    looks: list[int] = []

    def draw() -> list[Drawn]:
        rounds.append(1)
        return drawn

    mend(trainer, pictures(128, 128), [pictures(176, 352)], draw, looks.append)
    assert len(rounds) == 3
    assert looks == [2, 4, 5]
    after = trainer.average.transformer.final_layer.linear.weight
    assert torch.isfinite(after).all()
    assert not torch.equal(after, before)
