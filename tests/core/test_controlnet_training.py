"""Training of the demo's ControlNet for a few steps, and the measure of its control."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from demo.recipe import NETWORK
from demo.scenes import COLOURS, SHAPES, Scene
from demo.train_controlnet import (
    ControlRecipe,
    draw_edges,
    draw_filled,
    new_branch,
    random_outline,
    train,
)
from devtools.control import Task, inside_of, overlap, tasks
from devtools.environment import host_folder
from devtools.models import DEMO_FOLDER
from pixart_core.checkpoint.control import open_control
from pixart_core.network import PixArtTransformer

TASKS = tasks()


def filled(task: Task) -> Image.Image:
    return draw_filled(task.outline, task.scene.colour, task.scene.ground, 128)


@pytest.mark.parametrize("task", TASKS[:8], ids=lambda task: task.scene.caption())
def test_a_picture_that_follows_its_edges(task: Task) -> None:
    assert overlap(filled(task), task) > 0.98


def test_pictures_that_do_not() -> None:
    for task, other in zip(TASKS, [*TASKS[1:], TASKS[0]], strict=True):
        there = Task(task.scene, other.outline, task.seed)
        assert overlap(filled(there), task) < 0.7
        for name in (task.scene.colour, task.scene.ground):
            flat = Image.new("RGB", (128, 128), COLOURS[name])
            assert overlap(flat, task) < 0.5
        swapped = Scene(task.scene.shape, task.scene.ground, task.scene.colour)
        assert overlap(filled(Task(swapped, task.outline, 0)), task) < 0.1


def test_edges_lie_around_what_they_enclose() -> None:
    for task in TASKS[:8]:
        edges = torch.tensor(list(draw_edges(task.outline, 128).convert("L").tobytes()))
        on_edge = edges.reshape(128, 128) > 127
        inside = torch.from_numpy(inside_of(task.outline, 128))
        assert 0 < on_edge.sum() < inside.sum()
        assert (on_edge & inside).any()
        assert (on_edge & ~inside).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_lie_in_the_picture(shape: str) -> None:
    rng = random.Random(0)
    corners = [corner for _ in range(200) for corner in random_outline(rng, shape)]
    assert all(0 < share < 1 for corner in corners for share in corner)


def test_a_new_branch_changes_nothing_and_a_trained_one_can_be_loaded(tmp_path: Path) -> None:
    recipe = ControlRecipe(steps=2, pictures=8, batch=4, warm_up=1)
    tokenizer = host_folder() / "comfy" / "text_encoders" / "t5_tokenizer"
    branch = train(recipe, DEMO_FOLDER, tokenizer)
    path = tmp_path / "control.safetensors"
    save_file({key: value.contiguous() for key, value in branch.state_dict().items()}, path)
    opened = open_control(path)
    assert opened.network.depth == recipe.depth
    went_on = train(replace(recipe, rate=0.0), DEMO_FOLDER, tokenizer, path).state_dict()
    assert all(torch.equal(value, went_on[key]) for key, value in branch.state_dict().items())
    base = PixArtTransformer(NETWORK)
    fresh = new_branch(base, recipe.depth)
    x, t = torch.randn(1, 4, 16, 16), torch.tensor([500.0])
    skips = fresh(base, x, x, t, torch.randn(1, 5, 128))
    assert all(not skip.any() for skip in skips)
    trained = branch(base, x, x, t, torch.randn(1, 5, 128))
    assert any(skip.any() for skip in trained)
