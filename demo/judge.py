"""The pixel rule that tells whether a picture shows the named shape in the named colours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from .scenes import COLOURS, SHAPES, Scene, unit_outline

_MASK_SIDE = 64
_BORDER_SHARE = 1 / 16
_LEAST_AREA = 0.02
_MOST_AREA = 0.6
"""Bounds of the object's area in squares of the picture's shorter side."""
_MOST_DEVIATION = 0.05
"""Mean distance of two outlines in shares of the box's side. For a circle it is an overlap of 80 %;
an overlap would ask two and a half times as much of a star, which has more outline to its area."""
_FARTHEST_COLOUR = 80.0
_OBJECT_CONTRAST = 0.5
_SMALL_BELOW, _LARGE_ABOVE = 0.225, 0.30
"""Radii half-way between what is drawn for "small", for no word, and for "large"."""
_LEFT_BELOW, _RIGHT_ABOVE = 0.42, 0.58

_NAMES = list(COLOURS)
_PALETTE = np.array(list(COLOURS.values()), dtype=np.float32)


RGB = tuple[float, float, float]
Outline = list[tuple[float, float]]
"""Corners; x to the right, y down."""


@dataclass(frozen=True)
class Verdict:
    """What the rule saw; an empty name means nothing could be named."""

    shape: str
    colour: str
    ground: str
    deviation: float = 1.0
    """Mean distance of the object's outline from the best-fitting shape's, in shares of its box."""
    radius: float = 0.0
    """Of the best-fitting shape, as a share of the picture's shorter side."""
    x: float = 0.5
    """Middle of the object's box as a share of the picture's width."""
    object_rgb: RGB = (0.0, 0.0, 0.0)
    ground_rgb: RGB = (0.0, 0.0, 0.0)

    def has_colours_of(self, scene: Scene) -> bool:
        """Whether object and ground have the named colours."""
        return (self.colour, self.ground) == (scene.colour, scene.ground)

    def matches(self, scene: Scene) -> bool:
        """Whether shape, colour and ground are the named ones."""
        return self.shape == scene.shape and self.has_colours_of(scene)

    def has_size_of(self, scene: Scene) -> bool:
        """Whether the object is as small or large as named; true where no size is named."""
        fits = {"small": 0 < self.radius < _SMALL_BELOW, "large": self.radius > _LARGE_ABOVE}
        return fits.get(scene.size, True)

    def has_place_of(self, scene: Scene) -> bool:
        """Whether the object is where it is named to be; true where no place is named."""
        return scene.place in ("", self.place)

    def colour_distance(self, scene: Scene) -> float:
        """Mean distance of object and ground from the named colours, in steps of 8-bit RGB.

        Where there is no object, the ground stands for it.
        """
        pairs = ((self.object_rgb, scene.colour), (self.ground_rgb, scene.ground))
        return sum(math.dist(seen, COLOURS[name]) for seen, name in pairs) / 2

    @property
    def place(self) -> str:
        """Where the object is: "left", "centre", "right", or "" without an object."""
        if not self.radius:
            return ""
        if _LEFT_BELOW <= self.x <= _RIGHT_ABOVE:
            return "centre"
        return "left" if self.x < _LEFT_BELOW else "right"


def judge(image: Image.Image) -> Verdict:
    """Name the largest object of a picture, its colour, and the ground's colour.

    The ground is the median of the border; the object is the largest patch that lies nearer
    to its own median colour than to the ground; its shape is the one whose outline, fitted
    into the object's box, lies nearest to the object's own, and within 5 % of the box's side.
    Size and place are those of the box.
    """
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    ground = np.median(_border(pixels), axis=0)
    mask = _largest_object(pixels, ground)
    area = mask.sum() / _shorter_side(pixels) ** 2
    if not _LEAST_AREA <= area <= _MOST_AREA:
        return Verdict("", "", _name(ground), object_rgb=_rgb(ground), ground_rgb=_rgb(ground))
    (columns,) = np.nonzero(mask.any(0))
    box = _box_of(mask)
    shape, deviation = _fit_shape(box)
    colour = np.median(pixels[mask], axis=0)
    return Verdict(
        shape if deviation <= _MOST_DEVIATION else "",
        _name(colour),
        _name(ground),
        deviation,
        radius=max(box.shape) / _shorter_side(pixels) / max(_extent(unit_outline(shape))),
        x=float(columns.min() + columns.max() + 1) / 2 / pixels.shape[1],
        object_rgb=_rgb(colour),
        ground_rgb=_rgb(ground),
    )


def outline_deviation(image: Image.Image, outline: Outline) -> float:
    """Return how far the largest object's outline is from another's, fitted into its box.

    The mean distance in shares of the box's side; 1 where there is no object.
    """
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    mask = _largest_object(pixels, np.median(_border(pixels), axis=0))
    if not _LEAST_AREA <= mask.sum() / _shorter_side(pixels) ** 2 <= _MOST_AREA:
        return 1.0
    return _deviation(_scaled(_box_of(mask)), _outline_mask(outline))


def _rgb(colour: NDArray[np.float32]) -> RGB:
    red, green, blue = colour.tolist()
    return red, green, blue


def _shorter_side(pixels: NDArray[np.float32]) -> int:
    return min(pixels.shape[:2])


def _border(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    width = max(1, round(_shorter_side(pixels) * _BORDER_SHARE))
    inner = np.zeros(pixels.shape[:2], dtype=bool)
    inner[width:-width, width:-width] = True
    return pixels[~inner]


def _name(colour: NDArray[np.float32]) -> str:
    distances = np.linalg.norm(_PALETTE - colour, axis=1)
    nearest = int(distances.argmin())
    return _NAMES[nearest] if distances[nearest] <= _FARTHEST_COLOUR else ""


def _largest_object(pixels: NDArray[np.float32], ground: NDArray[np.float32]) -> NDArray[np.bool_]:
    distance = np.linalg.norm(pixels - ground, axis=-1)
    count = round(_LEAST_AREA * _shorter_side(pixels) ** 2 / 2)
    far = np.sort(distance, axis=None)[-count]
    if far < _FARTHEST_COLOUR / 2:
        return np.zeros(distance.shape, dtype=bool)
    labels, count = ndimage.label(distance > _OBJECT_CONTRAST * far)
    if not count:
        return np.zeros(distance.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _box_of(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    rows, columns = np.nonzero(mask)
    return mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def _scaled(box: NDArray[np.bool_]) -> NDArray[np.bool_]:
    side = (_MASK_SIDE, _MASK_SIDE)
    return np.asarray(Image.fromarray(box).resize(side, Image.Resampling.BILINEAR))


def _fit_shape(box: NDArray[np.bool_]) -> tuple[str, float]:
    seen = _scaled(box)
    deviations = {name: _deviation(seen, template) for name, template in _TEMPLATE_MASKS.items()}
    best = min(deviations, key=lambda name: deviations[name])
    upright = 0.6 <= box.shape[0] / box.shape[1] <= 1.6
    return best, deviations[best] if upright else 1.0


def _deviation(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the mean distance of the outlines, measured from the one that lies farther off."""
    edges = [_outline(mask) for mask in (a, b)]
    distances = [ndimage.distance_transform_edt(~edge) for edge in edges]
    return float(max(distances[1][edges[0]].mean(), distances[0][edges[1]].mean()) / _MASK_SIDE)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    # Padded, so that what touches the edge of the box has an outline there.
    padded = np.pad(mask, 1)
    return np.asarray(padded & ~ndimage.binary_erosion(padded))


def _extent(outline: Outline) -> tuple[float, float]:
    xs, ys = zip(*outline, strict=True)
    return max(xs) - min(xs), max(ys) - min(ys)


def _outline_mask(outline: Outline) -> NDArray[np.bool_]:
    xs, ys = zip(*outline, strict=True)
    scale_x, scale_y = (_MASK_SIDE / extent for extent in _extent(outline))
    corners = [((x - min(xs)) * scale_x - 0.5, (y - min(ys)) * scale_y - 0.5) for x, y in outline]
    canvas = Image.new("1", (_MASK_SIDE, _MASK_SIDE))
    ImageDraw.Draw(canvas).polygon(corners, fill=1)
    return np.asarray(canvas, dtype=bool)


_TEMPLATE_MASKS = {shape: _outline_mask(unit_outline(shape)) for shape in SHAPES}
