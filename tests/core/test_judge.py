"""The pixel rule: what must pass it, and what must fail each part of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from demo.judge import judge
from demo.scenes import COLOURS, SHAPES, Scene, draw, random_scene

SIDE = 256
RED_CIRCLE = Scene("circle", "red", "blue")


@pytest.mark.parametrize("side", [128, 256])
def test_what_is_drawn_right_passes(side: int) -> None:
    rng = random.Random(0)
    for scene in (random_scene(rng) for _ in range(100)):
        assert judge(draw(scene, side)).matches(scene)


@pytest.mark.parametrize("shape", SHAPES)
def test_soft_and_noisy_pictures_pass(shape: str) -> None:
    scene = replace(RED_CIRCLE, shape=shape)
    soft = draw(scene, SIDE).filter(ImageFilter.GaussianBlur(3))
    noise = np.random.default_rng(0).normal(0, 12, (SIDE, SIDE, 3))
    noisy = np.clip(np.asarray(soft) + noise, 0, 255).astype(np.uint8)
    assert judge(Image.fromarray(noisy)).matches(scene)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "circle"])
def test_another_shape_fails(shape: str) -> None:
    verdict = judge(draw(replace(RED_CIRCLE, shape=shape), SIDE))
    assert verdict.has_colours_of(RED_CIRCLE)
    assert not verdict.matches(RED_CIRCLE)


@pytest.mark.parametrize("colour", [name for name in COLOURS if name not in ("red", "blue")])
def test_another_colour_or_ground_fails(colour: str) -> None:
    assert not judge(draw(replace(RED_CIRCLE, colour=colour), SIDE)).has_colours_of(RED_CIRCLE)
    assert not judge(draw(replace(RED_CIRCLE, ground=colour), SIDE)).has_colours_of(RED_CIRCLE)


def test_swapped_colours_fail() -> None:
    assert not judge(draw(Scene("circle", "blue", "red"), SIDE)).has_colours_of(RED_CIRCLE)


def empty() -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), COLOURS["blue"])


def noise() -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    )


def speck() -> Image.Image:
    return draw(replace(RED_CIRCLE, radius=0.05), SIDE)


def flood() -> Image.Image:
    return draw(replace(RED_CIRCLE, radius=0.49), SIDE)


def ring() -> Image.Image:
    picture = draw(RED_CIRCLE, SIDE)
    ImageDraw.Draw(picture).ellipse((70, 70, 186, 186), fill=COLOURS["blue"])
    return picture


def half() -> Image.Image:
    picture = draw(RED_CIRCLE, SIDE)
    picture.paste(COLOURS["blue"], (0, 0, SIDE, SIDE // 2))
    return picture


def bar() -> Image.Image:
    picture = empty()
    picture.paste(COLOURS["red"], (30, 110, 226, 146))
    return picture


def brown() -> Image.Image:
    picture = empty()
    ImageDraw.Draw(picture).ellipse((60, 60, 196, 196), fill=(110, 90, 80))
    return picture


@pytest.mark.parametrize("wrong", [empty, noise, speck, flood, ring, half, bar, brown])
def test_what_is_no_red_circle_on_blue_fails(wrong: Callable[[], Image.Image]) -> None:
    assert not judge(wrong()).matches(RED_CIRCLE)


def rays(corners: int, radius: float = 1.0, turn: float = 0.0) -> list[tuple[float, float]]:
    """Return the corners of a regular polygon around 0, the first on top."""
    angles = [2 * math.pi * (i / corners + turn) for i in range(corners)]
    return [(radius * math.sin(angle), -radius * math.cos(angle)) for angle in angles]


def star(tips: int) -> list[tuple[float, float]]:
    notches = rays(tips, 0.42, 0.5 / tips)
    return [point for pair in zip(rays(tips), notches, strict=True) for point in pair]


OTHER_SHAPES = {
    "diamond": rays(4),
    "inverted triangle": rays(3, turn=0.5),
    "four-pointed star": star(4),
    "six-pointed star": star(6),
    "half circle": rays(64)[:33],
    "corner": [(-1, -1), (-0.2, -1), (-0.2, 0.2), (1, 0.2), (1, 1), (-1, 1)],
}


@pytest.mark.parametrize("name", OTHER_SHAPES)
def test_shapes_that_were_never_named_fail(name: str) -> None:
    picture = empty()
    corners = [(128 + 80 * x, 128 + 80 * y) for x, y in OTHER_SHAPES[name]]
    ImageDraw.Draw(picture).polygon(corners, fill=COLOURS["red"])
    assert judge(picture).shape == ""


def test_two_objects_are_judged_by_the_larger() -> None:
    picture = draw(Scene("square", "red", "blue", x=0.3, radius=0.24), SIDE)
    ImageDraw.Draw(picture).ellipse((190, 100, 240, 150), fill=COLOURS["red"])
    assert judge(picture).shape == "square"
