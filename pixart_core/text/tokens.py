"""The token limit: a prompt is cut where the reference tokenizer cuts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Token = TypeVar("Token")


@dataclass(frozen=True)
class FittedTokens(Generic[Token]):
    """The tokens of a prompt within the limit, and those that were cut."""

    kept: list[Token]
    """At most ``limit`` tokens, the end token last."""
    cut: list[Token]
    """What did not fit, in order, without the end token."""


def fit_tokens(tokens: Sequence[Token], limit: int) -> FittedTokens[Token]:
    """Truncate tokens that end with the end token to ``limit``, keeping the end token."""
    if len(tokens) <= limit:
        return FittedTokens(list(tokens), [])
    *words, end = tokens
    return FittedTokens([*words[: limit - 1], end], words[limit - 1 :])
