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
from demo.scenes import COLOURS, PLACES, SHAPES, SIZES, Scene, draw, random_scene

SIDE = 256
RED_CIRCLE = Scene("circle", "red", "blue")


def square(scene: Scene) -> Image.Image:
    return draw(scene, SIDE, SIDE)


@pytest.mark.parametrize("size", [(128, 128), (256, 256), (512, 128), (176, 352)])
def test_what_is_drawn_right_passes(size: tuple[int, int]) -> None:
    rng = random.Random(0)
    for scene in (random_scene(rng) for _ in range(150)):
        verdict = judge(draw(scene, *size))
        assert verdict.matches(scene)
        assert verdict.has_size_of(scene)
        assert verdict.has_place_of(scene)


@pytest.mark.parametrize("shape", SHAPES)
def test_soft_and_noisy_pictures_pass(shape: str) -> None:
    scene = replace(RED_CIRCLE, shape=shape)
    soft = square(scene).filter(ImageFilter.GaussianBlur(3))
    noise = np.random.default_rng(0).normal(0, 12, (SIDE, SIDE, 3))
    noisy = np.clip(np.asarray(soft) + noise, 0, 255).astype(np.uint8)
    assert judge(Image.fromarray(noisy)).matches(scene)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "circle"])
def test_another_shape_fails(shape: str) -> None:
    verdict = judge(square(replace(RED_CIRCLE, shape=shape)))
    assert verdict.has_colours_of(RED_CIRCLE)
    assert not verdict.matches(RED_CIRCLE)


@pytest.mark.parametrize("colour", [name for name in COLOURS if name not in ("red", "blue")])
def test_another_colour_or_ground_fails(colour: str) -> None:
    assert not judge(square(replace(RED_CIRCLE, colour=colour))).has_colours_of(RED_CIRCLE)
    assert not judge(square(replace(RED_CIRCLE, ground=colour))).has_colours_of(RED_CIRCLE)


def test_swapped_colours_fail() -> None:
    assert not judge(square(Scene("circle", "blue", "red"))).has_colours_of(RED_CIRCLE)


def empty() -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), COLOURS["blue"])


def noise() -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    )


def speck() -> Image.Image:
    return square(replace(RED_CIRCLE, radius=0.05))


def flood() -> Image.Image:
    return square(replace(RED_CIRCLE, radius=0.49))


def ring() -> Image.Image:
    picture = square(RED_CIRCLE)
    ImageDraw.Draw(picture).ellipse((70, 70, 186, 186), fill=COLOURS["blue"])
    return picture


def half() -> Image.Image:
    picture = square(RED_CIRCLE)
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
    picture = square(Scene("square", "red", "blue", x=0.3, radius=0.24))
    ImageDraw.Draw(picture).ellipse((190, 100, 240, 150), fill=COLOURS["red"])
    assert judge(picture).shape == "square"


@pytest.mark.parametrize("size", ["small", "large"])
def test_another_size_fails(size: str) -> None:
    wanted = replace(RED_CIRCLE, size=size)
    for word, (low, high) in SIZES.items():
        for radius in (low, high):
            verdict = judge(square(replace(RED_CIRCLE, radius=radius)))
            assert verdict.has_size_of(wanted) == (word == size)


@pytest.mark.parametrize("place", ["left", "centre", "right"])
@pytest.mark.parametrize("width", [128, 256, 512])
def test_another_place_fails(place: str, width: int) -> None:
    wanted = replace(RED_CIRCLE, place=place)
    for word in ("left", "centre", "right"):
        for x in PLACES[word]:
            verdict = judge(draw(replace(RED_CIRCLE, x=x, radius=0.2), width, 256))
            assert verdict.has_place_of(wanted) == (word == place)


def test_without_an_object_size_and_place_fail() -> None:
    verdict = judge(empty())
    assert not verdict.has_size_of(replace(RED_CIRCLE, size="small"))
    assert not verdict.has_place_of(replace(RED_CIRCLE, place="centre"))


def test_an_outline_that_lies_off_fails() -> None:
    """A circle eaten away at one side, so that its box is right and its outline is not."""
    bitten = square(RED_CIRCLE)
    ImageDraw.Draw(bitten).ellipse((130, 60, 290, 196), fill=COLOURS["blue"])
    assert judge(bitten).has_colours_of(RED_CIRCLE)
    assert not judge(bitten).matches(RED_CIRCLE)


def test_colour_distance_is_that_of_both_colours() -> None:
    assert judge(square(RED_CIRCLE)).colour_distance(RED_CIRCLE) == pytest.approx(0, abs=1)
    pale = Image.blend(square(RED_CIRCLE), Image.new("RGB", (SIDE, SIDE), "white"), 0.25)
    expected = sum(math.dist(COLOURS[name], (255, 255, 255)) * 0.25 for name in ("red", "blue")) / 2
    assert judge(pale).colour_distance(RED_CIRCLE) == pytest.approx(expected, abs=2)
