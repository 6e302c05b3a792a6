"""The host's syntax for the weight of words: ``(word:1.2)``, nested, brackets escaped."""

from __future__ import annotations

from collections.abc import Sequence

from comfy.sd1_clip import escape_important, token_weights, unescape_important

from ...pixart_core.text.cleaning import Piece


def pieces_of(text: str) -> list[Piece]:
    """Split a prompt into parts of one weight each, brackets and escapes taken off."""
    return [
        (unescape_important(part), float(weight))
        for part, weight in token_weights(escape_important(text), 1.0)
    ]


def text_of(pieces: Sequence[Piece]) -> str:
    """Write parts of a prompt so that the host reads the same parts from it."""
    return "".join(
        _escaped(part) if weight == 1.0 else f"({_escaped(part)}:{weight!r})"
        for part, weight in pieces
    )


def _escaped(part: str) -> str:
    return part.replace("(", "\\(").replace(")", "\\)")
