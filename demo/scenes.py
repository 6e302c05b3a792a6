"""What the demo model is taught: one coloured shape on a coloured ground, and its caption."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "triangle", "star")

COLOURS = {
    "red": (222, 40, 38),
    "green": (36, 156, 66),
    "blue": (36, 78, 222),
    "yellow": (248, 216, 40),
    "orange": (246, 132, 24),
    "purple": (136, 44, 172),
    "white": (246, 246, 246),
    "black": (18, 18, 18),
}

TEMPLATES = (
    "a {colour} {shape} on a {ground} background",
    "a {colour} {shape} on {ground}",
    "{colour} {shape} on a {ground} background",
    "{colour} {shape}, {ground} background",
    "a picture of a {colour} {shape} on a {ground} background",
    "an image of a {colour} {shape} against a {ground} background",
    "a {colour} {shape} in front of a {ground} background",
    "a {shape} in {colour} on a {ground} background",
    "the {colour} {shape} on the {ground} background",
    "a {ground} background with a {colour} {shape}",
    "{ground} background, {colour} {shape}",
    "on a {ground} background there is a {colour} {shape}",
)

_OVERSAMPLING = 4
_STAR_INNER = 0.45
_SQUARE_HALF_SIDE = 0.86
_TRIANGLE_RADIUS = 1.12


@dataclass(frozen=True)
class Scene:
    """One picture: lengths are shares of the picture's side, x to the right, y down."""

    shape: str
    colour: str
    ground: str
    x: float = 0.5
    y: float = 0.5
    radius: float = 0.3

    def caption(self, template: str = TEMPLATES[0]) -> str:
        """Say what the picture shows."""
        return template.format(shape=self.shape, colour=self.colour, ground=self.ground)


def random_scene(rng: random.Random) -> Scene:
    """Draw a scene whose shape and ground differ in colour."""
    colour, ground = rng.sample(list(COLOURS), 2)
    return Scene(
        shape=rng.choice(SHAPES),
        colour=colour,
        ground=ground,
        x=rng.uniform(0.44, 0.56),
        y=rng.uniform(0.44, 0.56),
        radius=rng.uniform(0.26, 0.36),
    )


def draw(scene: Scene, side: int) -> Image.Image:
    """Render a scene as an RGB picture of ``side`` pixels, edges smoothed."""
    big = side * _OVERSAMPLING
    image = Image.new("RGB", (big, big), COLOURS[scene.ground])
    outline = [(x * big, y * big) for x, y in outline_of(scene)]
    ImageDraw.Draw(image).polygon(outline, fill=COLOURS[scene.colour])
    return image.resize((side, side), Image.Resampling.BOX)


def outline_of(scene: Scene) -> list[tuple[float, float]]:
    """Return the corners of the shape in shares of the picture's side."""
    return [
        (scene.x + scene.radius * x, scene.y + scene.radius * y)
        for x, y in _unit_outline(scene.shape)
    ]


def _unit_outline(shape: str) -> list[tuple[float, float]]:
    if shape == "circle":
        return _polygon(64)
    if shape == "square":
        h = _SQUARE_HALF_SIDE
        return [(-h, -h), (h, -h), (h, h), (-h, h)]
    if shape == "triangle":
        return _polygon(3, radius=_TRIANGLE_RADIUS)
    tips, notches = _polygon(5), _polygon(5, radius=_STAR_INNER, turn=0.1)
    return [point for pair in zip(tips, notches, strict=True) for point in pair]


def _polygon(corners: int, radius: float = 1.0, turn: float = 0.0) -> list[tuple[float, float]]:
    angles = [2 * math.pi * (i / corners + turn) for i in range(corners)]
    return [(radius * math.sin(a), -radius * math.cos(a)) for a in angles]
