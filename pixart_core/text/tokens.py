"""The token limit: a prompt is cut where the reference tokenizer cuts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Token = TypeVar("Token")

END = 1
"""T5's token at the end of a text."""
PAD = 0
"""T5's token that may follow it."""


@dataclass(frozen=True)
class FittedTokens(Generic[Token]):
    """The tokens of a prompt within the limit, and those that were cut."""

    kept: list[Token]
    """At most ``limit`` tokens, the end token last."""
    cut: list[Token]
    """What did not fit, in order, without the end token."""


def real_tokens(rows: Sequence[Sequence[tuple[Any, float]]]) -> list[tuple[Any, float]]:
    """Join rows of (token, weight) as tokenizers of other models cut and pad them.

    The padding and the end token at the end of each row go; one end token is kept, at the end of
    all. An end token within a row was in the text.
    """
    words: list[tuple[Any, float]] = []
    for row in rows:
        own = [(token, weight) for token, weight, *_ in row]
        while own and _is(own[-1][0], PAD):
            own.pop()
        if own and _is(own[-1][0], END):
            own.pop()
        words += own
    return [*words, (END, 1.0)]


def _is(token: Any, wanted: int) -> bool:
    # Textual inversions stand among the tokens as tensors.
    return isinstance(token, int) and token == wanted


def fit_tokens(tokens: Sequence[Token], limit: int) -> FittedTokens[Token]:
    """Truncate tokens that end with the end token to ``limit``, keeping the end token."""
    if len(tokens) <= limit:
        return FittedTokens(list(tokens), [])
    *words, end = tokens
    return FittedTokens([*words[: limit - 1], end], words[limit - 1 :])
