"""Whether guidance, the negative prompt and the empty prompt do what they are for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from tqdm import tqdm

from demo.judge import judge
from demo.scenes import COLOURS, SHAPES
from devtools.drawing import Artist, Outcome
from devtools.interval import mean_difference

_SIDE = 128
_BATCH = 16
_NEGATIVE_PICTURES = 128
_EMPTY_PICTURES = 64
_OPEN_PROMPT = "a circle on a white background"
_AVOIDED = "red"
_LEFT_BY_NEGATIVE = 1 / 4
_VARIED_SHAPES = len(SHAPES)
_VARIED_COLOURS = len(COLOURS) - 1
_COMMONEST = 1 / 3


@dataclass(frozen=True)
class Effect:
    """A finding in words, with the figures and whether it is as it should be."""

    text: str
    figures: dict[str, float]
    as_it_should: bool


def effect_of_guidance(guided: Sequence[Outcome], plain: Sequence[Outcome]) -> Effect:
    """Compare the colours of the same trials at the workflow's guidance and at 1."""
    near, far = ([outcome.colour_distance for outcome in side] for side in (guided, plain))
    change = mean_difference(near, far)
    before, after = sum(far) / len(far), sum(near) / len(near)
    text = (
        f"distance of the colours: {before:.1f} at guidance 1, {after:.1f} guided; "
        f"change {change.estimate:+.1f} ({change.low:+.1f} to {change.high:+.1f})"
    )
    figures = {"before": before, "after": after, "low": change.low, "high": change.high}
    return Effect(text, figures, change.high < 0)


def effect_of_negative(artist: Artist) -> tuple[Effect, list[Image.Image]]:
    """Count red objects where the prompt leaves the colour open, without and with a negative."""
    sets = {
        negative: _pictures(artist, _NEGATIVE_PICTURES, prompt=_OPEN_PROMPT, negative=negative)
        for negative in ("", _AVOIDED)
    }
    before, after = (
        sum(judge(picture).colour == _AVOIDED for picture in pictures) for pictures in sets.values()
    )
    text = (
        f"{_OPEN_PROMPT!r}: {_AVOIDED} in {before} of {_NEGATIVE_PICTURES} pictures, "
        f"with {_AVOIDED!r} as negative in {after}"
    )
    pictures = [*sets[""][:_BATCH], *sets[_AVOIDED][:_BATCH]]
    fewer = after < before * _LEFT_BY_NEGATIVE
    return Effect(text, {"before": before, "after": after}, fewer), pictures


def effect_of_nothing(artist: Artist) -> tuple[Effect, list[Image.Image]]:
    """Count what the empty prompt shows: it should be a varied set."""
    pictures = _pictures(artist, _EMPTY_PICTURES, prompt="", negative="")
    verdicts = [judge(picture) for picture in pictures]
    shapes, colours, grounds = (
        Counter(name for name in names if name)
        for names in zip(*((v.shape, v.colour, v.ground) for v in verdicts), strict=True)
    )
    commonest = max(grounds.values()) / _EMPTY_PICTURES
    text = (
        f"empty prompt, {_EMPTY_PICTURES} pictures: {len(shapes)} shapes, {len(colours)} colours "
        f"on {len(grounds)}, the commonest ground in {commonest:.0%}"
    )
    varied = (
        len(shapes) >= _VARIED_SHAPES
        and min(len(colours), len(grounds)) >= _VARIED_COLOURS
        and commonest <= _COMMONEST
    )
    figures = {
        "shapes": len(shapes),
        "colours": len(colours),
        "grounds": len(grounds),
        "commonest": commonest,
    }
    return Effect(text, figures, varied), pictures[:_BATCH]


def _pictures(artist: Artist, count: int, prompt: str, negative: str) -> list[Image.Image]:
    seeds = tqdm(range(count // _BATCH), desc=f"{prompt!r} without {negative!r}", unit="batch")
    return [
        picture
        for seed in seeds
        for picture in artist.draw(
            prompt=prompt,
            negative=negative,
            seed=seed,
            width=_SIDE,
            height=_SIDE,
            batch_size=_BATCH,
        )
    ]
