"""The host's syntax for the weight of words: ``(word:1.2)``, nested, brackets escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence

from comfy.sd1_clip import escape_important, token_weights, unescape_important

from ...pixart_core.errors import ConditioningError
from ...pixart_core.text.cleaning import Piece


def pieces_of(text: str) -> list[Piece]:
    """Split a prompt into parts of one weight each, brackets and escapes taken off.

    Raises ConditioningError for a weight that is no number, brackets nested a thousand deep, and
    halves of letters.
    """
    try:
        text.encode()
        parts = token_weights(escape_important(text), 1.0)
    except UnicodeEncodeError as error:
        raise _unreadable("half of a letter (a lone surrogate)") from error
    except RecursionError as error:
        raise _unreadable("brackets within brackets, too deep to follow") from error
    pieces = [(unescape_important(part), float(weight)) for part, weight in parts]
    bad = next((weight for _, weight in pieces if not math.isfinite(weight)), None)
    if bad is not None:
        raise _unreadable(f"a weight of {bad}")
    return pieces


def _unreadable(found: str) -> ConditioningError:
    return ConditioningError(
        "The prompt cannot be read",
        found=found,
        expected="text, with weights such as (word:1.2) if any",
        advice="Correct the prompt.",
    )


def text_of(pieces: Sequence[Piece]) -> str:
    """Write parts of a prompt so that the host reads the same parts from it."""
    return "".join(
        _escaped(part) if weight == 1.0 else f"({_escaped(part)}:{weight!r})"
        for part, weight in pieces
    )


def _escaped(part: str) -> str:
    return part.replace("(", "\\(").replace(")", "\\)")
