"""The token limit: a prompt is cut where the reference tokenizer cuts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Token = TypeVar("Token")

END = 1
"""T5's token at the end of a text; padding may follow it."""


@dataclass(frozen=True)
class FittedTokens(Generic[Token]):
    """The tokens of a prompt within the limit, and those that were cut."""

    kept: list[Token]
    """At most ``limit`` tokens, the end token last."""
    cut: list[Token]
    """What did not fit, in order, without the end token."""


def real_tokens(rows: Sequence[Sequence[tuple[Any, float]]]) -> list[tuple[Any, float]]:
    """Join rows of (token, weight) as tokenizers of other models cut and pad them.

    Each row goes up to its end token; one end token is kept, at the end of all.
    """
    words: list[tuple[Any, float]] = []
    for row in rows:
        for token, weight, *_ in row:
            if isinstance(token, int) and token == END:
                break
            words.append((token, weight))
    return [*words, (END, 1.0)]


def fit_tokens(tokens: Sequence[Token], limit: int) -> FittedTokens[Token]:
    """Truncate tokens that end with the end token to ``limit``, keeping the end token."""
    if len(tokens) <= limit:
        return FittedTokens(list(tokens), [])
    *words, end = tokens
    return FittedTokens([*words[: limit - 1], end], words[limit - 1 :])
