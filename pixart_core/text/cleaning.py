"""What is done to the letters of a prompt before it is tokenized."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from ..variants import Family
from .caption_cleaning import clean_twice

AUTO = "auto"
REFERENCE = "reference"
LOWERCASE = "lowercase"

CLEANINGS: dict[str, Callable[[str], str]] = {
    REFERENCE: clean_twice,
    LOWERCASE: lambda text: text.lower().strip(),
    "off": lambda text: text,
}
"""alpha was trained on cleaned captions, Sigma on captions as they were."""

_BY_FAMILY: dict[Family, str] = {"alpha": REFERENCE, "sigma": "off"}
_WITHOUT_MODEL = LOWERCASE

Piece = tuple[str, float]
"""Part of a prompt, and its weight."""

_FIRST_SEAM, _LAST_SEAM = 0xF0000, 0xFFFFD
_SEAMS = re.compile(f"[{chr(_FIRST_SEAM)}-{chr(_LAST_SEAM)}]")
"""Characters for private use, which are no words, no punctuation, and nothing to T5."""

_REACH = 200
"""Letters within which two cleanings of a text mostly agree again."""
_AGREEING = 6
"""Letters in a row by which they do; fewer at the end of the text."""


@dataclass(frozen=True)
class CleanedPrompt:
    """The pieces of a prompt after cleaning, and how it was cleaned."""

    pieces: tuple[Piece, ...]
    cleaning: str
    """Which of `CLEANINGS` was done."""
    notice: str = ""
    """Why another cleaning was done than the one asked for."""

    @property
    def text(self) -> str:
        """The prompt without its weights."""
        return "".join(text for text, _ in self.pieces)

    def up_to(self, end: int) -> tuple[Piece, ...]:
        """Return the pieces of the first ``end`` letters."""
        kept: list[Piece] = []
        for text, weight in self.pieces:
            kept.append((text[:end], weight))
            end -= min(end, len(text))
        return tuple(piece for piece in kept if piece[0])


def clean(pieces: Sequence[Piece], cleaning: str, family: Family | None) -> CleanedPrompt:
    """Clean a prompt as a whole, each part of it keeping its weight.

    ``auto`` does what the family was trained with; without a known family it lower-cases, which
    is what diffusers does for both where its libraries are absent. Where ``reference`` lacks
    them here the prompt is lower-cased too, and the notice says so. Raises KeyError for an
    unknown ``cleaning``.
    """
    if cleaning == AUTO:
        cleaning = _BY_FAMILY[family] if family else _WITHOUT_MODEL
    try:
        return CleanedPrompt(_clean_pieces(pieces, CLEANINGS[cleaning]), cleaning)
    except ImportError as error:
        return CleanedPrompt(
            _clean_pieces(pieces, CLEANINGS[LOWERCASE]),
            LOWERCASE,
            f"The prompt was only lower-cased, because {error.name} is not installed; install "
            "ftfy and beautifulsoup4 for the cleaning that this model was trained with",
        )


def _clean_pieces(pieces: Sequence[Piece], how: Callable[[str], str]) -> tuple[Piece, ...]:
    """Clean the text as one, so that weights change nothing but weights.

    To know whose letters are left it is cleaned a second time, with a seam before each piece that
    no rule of any cleaning touches.
    """
    cleaned = how("".join(text for text, _ in pieces))
    if len({weight for _, weight in pieces}) < 2 or len(pieces) > _LAST_SEAM - _FIRST_SEAM:
        return ((cleaned, pieces[0][1] if pieces else 1.0),)
    marked = "".join(
        chr(_FIRST_SEAM + i) + _SEAMS.sub("", text) for i, (text, _) in enumerate(pieces)
    )
    letters, weights, weight = "", [1.0], 1.0
    for letter in how(marked):
        if _SEAMS.match(letter):
            weight = pieces[ord(letter) - _FIRST_SEAM][1]
        else:
            letters += letter
            weights.append(weight)
    return _grouped(cleaned, _aligned(letters, weights[1:], cleaned))


def _aligned(letters: str, weights: Sequence[float], cleaned: str) -> list[float]:
    """Return the weight of each letter of ``cleaned``, which differs from ``letters`` a little.

    Read side by side, and beyond a difference from the nearest place where they agree again:
    difflib would compare every letter with all like it, which takes minutes where there are few
    kinds of letters.
    """
    aligned: list[float] = []
    at = start = 0
    while (here := len(aligned)) < len(cleaned):
        if letters[at : at + 1] == cleaned[here]:
            aligned.append(weights[at])
            at += 1
            continue
        dropped, added = _difference(letters[at:], cleaned[here : here + _REACH + 2 * _AGREEING])
        at += dropped
        longer = here - start + 1
        following = letters[at : at + longer]
        goes_on = len(following) == longer and cleaned.startswith(following, here)
        # Letters that stood on both sides of what was dropped go with the longer run.
        for back in range(1, dropped + 1 if goes_on and not added else 1):
            if back > here or letters[at - back] != cleaned[here - back]:
                break
            aligned[-back] = weights[at - back]
        aligned += [aligned[-1] if aligned else 1.0] * added
        start = here
    return aligned


def _difference(letters: str, cleaned: str) -> tuple[int, int]:
    """Return how many letters of each come before they agree again; one of each if they do not."""
    near = letters[:_REACH]
    agreeing = (
        (near.find(cleaned[added : added + _AGREEING]), added)
        for added in range(min(_REACH, len(cleaned)))
    )
    found = [(dropped, added) for dropped, added in agreeing if dropped >= 0]
    if not found:
        far = letters.find(cleaned[: 2 * _AGREEING])
        found = [(far, 0)] if far >= 0 else [(1, 1)]
    return min(found, key=sum)


def _grouped(text: str, weights: Sequence[float]) -> tuple[Piece, ...]:
    pairs = groupby(zip(text, weights, strict=True), key=itemgetter(1))
    return tuple(("".join(letter for letter, _ in run), weight) for weight, run in pairs)
