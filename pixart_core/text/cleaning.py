"""What is done to the letters of a prompt before it is tokenized."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate, groupby
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

_WORD = re.compile(r"\w+|.", re.DOTALL)


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

    Compared by words: letter by letter a long prompt of few letters would take minutes.
    """
    if letters == cleaned:
        return list(weights)
    found, wanted = _WORD.findall(letters), _WORD.findall(cleaned)
    starts, ends = ([0, *accumulate(map(len, words))] for words in (found, wanted))
    aligned: list[float] = []
    for block in SequenceMatcher(None, found, wanted).get_matching_blocks():
        before = aligned[-1] if aligned else 1.0
        aligned += [before] * (ends[block.b] - len(aligned))
        aligned += weights[starts[block.a] : starts[block.a + block.size]]
    return aligned


def _grouped(text: str, weights: Sequence[float]) -> tuple[Piece, ...]:
    pairs = groupby(zip(text, weights, strict=True), key=itemgetter(1))
    return tuple(("".join(letter for letter, _ in run), weight) for weight, run in pairs)
