"""The pixel rule that tells whether a picture shows the named shape in the named colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from .scenes import COLOURS, SHAPES, Scene, outline_of

_MASK_SIDE = 64
_BORDER_SHARE = 1 / 16
_LEAST_AREA = 0.02
_MOST_AREA = 0.6
_LEAST_OVERLAP = 0.8
_FARTHEST_COLOUR = 80.0
_OBJECT_CONTRAST = 0.5

_NAMES = list(COLOURS)
_PALETTE = np.array(list(COLOURS.values()), dtype=np.float32)


@dataclass(frozen=True)
class Verdict:
    """What the rule saw; an empty name means nothing could be named."""

    shape: str
    colour: str
    ground: str
    overlap: float
    """Intersection over union of the object with the best-fitting shape in its box."""

    def has_colours_of(self, scene: Scene) -> bool:
        """Whether object and ground have the named colours."""
        return (self.colour, self.ground) == (scene.colour, scene.ground)

    def matches(self, scene: Scene) -> bool:
        """Whether shape, colour and ground are the named ones."""
        return self.shape == scene.shape and self.has_colours_of(scene)


def judge(image: Image.Image) -> Verdict:
    """Name the largest object of a picture, its colour, and the ground's colour.

    The ground is the median of the border; the object is the largest patch that lies nearer
    to its own median colour than to the ground; its shape is the one whose outline, fitted
    into the object's box, overlaps it best, and by at least 80 %.
    """
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    ground = np.median(_border(pixels), axis=0)
    mask = _largest_object(pixels, ground)
    share = float(mask.mean())
    if not _LEAST_AREA <= share <= _MOST_AREA:
        return Verdict("", "", _name(ground), 0.0)
    shape, overlap = _fit_shape(mask)
    return Verdict(shape, _name(np.median(pixels[mask], axis=0)), _name(ground), overlap)


def _border(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    width = max(1, round(min(pixels.shape[:2]) * _BORDER_SHARE))
    inner = np.zeros(pixels.shape[:2], dtype=bool)
    inner[width:-width, width:-width] = True
    return pixels[~inner]


def _name(colour: NDArray[np.float32]) -> str:
    distances = np.linalg.norm(_PALETTE - colour, axis=1)
    nearest = int(distances.argmin())
    return _NAMES[nearest] if distances[nearest] <= _FARTHEST_COLOUR else ""


def _largest_object(pixels: NDArray[np.float32], ground: NDArray[np.float32]) -> NDArray[np.bool_]:
    distance = np.linalg.norm(pixels - ground, axis=-1)
    far = np.percentile(distance, 98)
    if far < _FARTHEST_COLOUR / 2:
        return np.zeros(distance.shape, dtype=bool)
    labels, count = ndimage.label(distance > _OBJECT_CONTRAST * far)
    if not count:
        return np.zeros(distance.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _fit_shape(mask: NDArray[np.bool_]) -> tuple[str, float]:
    rows, columns = np.nonzero(mask)
    box = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    if not 0.6 <= box.shape[0] / box.shape[1] <= 1.6:
        return "", 0.0
    seen = np.asarray(
        Image.fromarray(box).resize((_MASK_SIDE, _MASK_SIDE), Image.Resampling.BILINEAR)
    )
    overlaps = {name: _overlap(seen, template) for name, template in _TEMPLATE_MASKS.items()}
    best = max(overlaps, key=lambda name: overlaps[name])
    return (best if overlaps[best] >= _LEAST_OVERLAP else ""), overlaps[best]


def _overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def _template_mask(shape: str) -> NDArray[np.bool_]:
    corners = outline_of(Scene(shape, "white", "black", 0.0, 0.0, 1.0))
    xs, ys = zip(*corners, strict=True)
    left, top = min(xs), min(ys)
    scale_x, scale_y = (_MASK_SIDE / (max(axis) - min(axis)) for axis in (xs, ys))
    canvas = Image.new("1", (_MASK_SIDE, _MASK_SIDE))
    fitted = [((x - left) * scale_x - 0.5, (y - top) * scale_y - 0.5) for x, y in corners]
    ImageDraw.Draw(canvas).polygon(fitted, fill=1)
    return np.asarray(canvas, dtype=bool)


_TEMPLATE_MASKS = {shape: _template_mask(shape) for shape in SHAPES}
