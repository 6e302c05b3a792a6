"""What the demo model is taught: one coloured shape on a coloured ground, and its caption."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import permutations, product
from string import Formatter

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

SIZES = {"small": (0.205, 0.207), "": (0.264, 0.266), "large": (0.342, 0.344)}
"""Range of the radius for each word; no word stands for the middle.

All ranges are narrow: a model this small, trained for so short, draws clean outlines only where it
need not work out from the noise where they are to the pixel.
"""

PLACES = {
    "left": (0.278, 0.282),
    "": (0.498, 0.502),
    "centre": (0.498, 0.502),
    "right": (0.718, 0.722),
}
"""Range of the middle of the shape for each word; no word stands for the centre."""

TEMPLATES = (
    "a {size}{colour} {shape}{place} on a {ground} background",
    "a {size}{colour} {shape} on a {ground} background{aside}",
    "a {size}{colour} {shape}{place} on {ground}",
    "{size}{colour} {shape}{place}, {ground} background",
    "{size}{colour} {shape}, {ground} background{aside}",
    "a picture of a {size}{colour} {shape}{place} on a {ground} background",
    "an image of a {size}{colour} {shape} against a {ground} background{aside}",
    "a {size}{colour} {shape}{place} in front of a {ground} background",
    "a {size}{shape} in {colour} on a {ground} background{aside}",
    "the {size}{colour} {shape}{place} on the {ground} background",
    "a {ground} background with a {size}{colour} {shape}{place}",
    "{ground} background, {size}{colour} {shape}{place}",
    "on a {ground} background there is a {size}{colour} {shape}{place}",
)

PARTIAL_TEMPLATES = (
    "a {size}{shape}{place} on a {ground} background",
    "a {size}{colour} {shape}{place}",
    "a {size}{shape}{place}",
    "{shape}",
    "{colour}",
    "a {ground} background",
)
"""Captions that leave something open."""

_PHRASES = {
    "": ("",),
    "left": ("on the left",),
    "centre": ("in the centre", "in the center", "in the middle"),
    "right": ("on the right",),
}

_SAYS = {"aside": "place"}
"""What a field of a template says where its name is not an attribute's."""

_ARTICLE = re.compile(r"\ba(?= [aeiou])")
NAMED = 0.5
"""Share of the scenes whose size is named, and of those whose place is."""
SETTLED = 0.98
"""Share of the sizes and places that are the middle ones after all, where words leave them open."""
_OVERSAMPLING = 4
_MARGIN = 0.02
_STAR_INNER = 0.45
_SQUARE_HALF_SIDE = 0.86
_TRIANGLE_RADIUS = 1.12


ATTRIBUTES = ("shape", "colour", "ground", "size", "place")
"""What a caption can name."""


@dataclass(frozen=True)
class Scene:
    """One picture; x to the right, y down."""

    shape: str
    colour: str
    ground: str
    x: float = 0.5
    """Middle of the shape as a share of the picture's width."""
    y: float = 0.5
    """Middle of the shape as a share of the picture's height."""
    radius: float = 0.3
    """Radius of the shape as a share of the picture's shorter side."""
    size: str = ""
    """"small", "large", or "" where the caption does not say."""
    place: str = ""
    """"left", "right", "centre", or "" where the caption does not say."""

    def caption(self, template: str = TEMPLATES[0], phrase: int = 0) -> str:
        """Say what the picture shows, with one of the ``template`` sentences.

        ``phrase`` chooses among the ways of saying where the shape is.
        """
        phrases = _PHRASES[self.place]
        where = phrases[phrase % len(phrases)]
        text = template.format(
            shape=self.shape,
            colour=self.colour,
            ground=self.ground,
            size=self.size and f"{self.size} ",
            place=where and f" {where}",
            aside=where and f", {where}",
        )
        return _ARTICLE.sub("an", text)

    def named(self, template: str) -> dict[str, str]:
        """Return what the caption by that template says of the scene."""
        fields = {field for _, field, _, _ in Formatter().parse(template) if field}
        return {_SAYS.get(field, field): getattr(self, _SAYS.get(field, field)) for field in fields}


Combination = tuple[str, str, str]
"""Shape, colour of the shape, colour of the ground."""

COMBINATIONS: tuple[Combination, ...] = tuple(
    (shape, colour, ground) for shape, (colour, ground) in product(SHAPES, permutations(COLOURS, 2))
)
"""All 224 of them."""


def _is_unseen(shape: str, colour: str, ground: str) -> bool:
    names = list(COLOURS)
    return (SHAPES.index(shape) + names.index(colour) + 3 * names.index(ground)) % 7 == 0


UNSEEN = frozenset(combination for combination in COMBINATIONS if _is_unseen(*combination))
"""One in seven: training leaves these out, so that they show what the model can put together."""

SEEN = tuple(combination for combination in COMBINATIONS if combination not in UNSEEN)


def random_scene(rng: random.Random, combination: Combination | None = None) -> Scene:
    """Draw a scene of the given combination, or of any that training may see."""
    shape, colour, ground = combination or rng.choice(SEEN)
    size = rng.choice(("small", "large")) if rng.random() < NAMED else ""
    place = rng.choice(("left", "centre", "right")) if rng.random() < NAMED else ""
    return Scene(
        shape,
        colour,
        ground,
        x=rng.uniform(*PLACES[place]),
        y=rng.uniform(*PLACES["centre"]),
        radius=rng.uniform(*SIZES[size]),
        size=size,
        place=place,
    )


def settled(scene: Scene, named: Collection[str], rng: random.Random) -> Scene:
    """Return the scene with the middle size and place, most often, where words leave them open.

    ``named`` are the attributes that the words name. As in captions, where no word stands for the
    middle. Without words there is then little left but outlines to tell apart.
    """
    if "size" not in named and rng.random() < SETTLED:
        scene = replace(scene, size="", radius=rng.uniform(*SIZES[""]))
    if "place" not in named and rng.random() < SETTLED:
        scene = replace(scene, place="", x=rng.uniform(*PLACES[""]))
    return scene


def draw(scene: Scene, width: int, height: int) -> Image.Image:
    """Render a scene as an RGB picture of that many pixels, edges smoothed."""
    large = (width * _OVERSAMPLING, height * _OVERSAMPLING)
    image = Image.new("RGB", large, COLOURS[scene.ground])
    ImageDraw.Draw(image).polygon(outline_of(scene, *large), fill=COLOURS[scene.colour])
    return image.resize((width, height), Image.Resampling.BOX)


def outline_of(scene: Scene, width: int, height: int) -> list[tuple[float, float]]:
    """Return the corners of the shape in pixels, inside the picture if it fits there."""
    radius = scene.radius * min(width, height)
    reach = radius + _MARGIN * min(width, height)
    x = min(max(scene.x * width, reach), width - reach)
    y = scene.y * height
    return [(x + radius * dx, y + radius * dy) for dx, dy in unit_outline(scene.shape)]


def unit_outline(shape: str) -> list[tuple[float, float]]:
    """Return the corners of a shape of radius 1 about the origin."""
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
