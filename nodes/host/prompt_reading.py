"""Prompts made ready for T5: cleaned, tokenized, cut at the model's limit."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...pixart_core.errors import ConditioningError
from ...pixart_core.text.cleaning import CleanedPrompt, clean
from ...pixart_core.text.tokens import FittedTokens, fit_tokens, real_tokens
from ...pixart_core.variants import LONGEST_PROMPT, Variant
from .prompt_text import pieces_of, text_of
from .t5_tokens import TOKENS_KEY, UNCUT

Tokenize = Callable[..., dict[str, Any]]
"""The host's: from a text and ``tokenizer_options`` to rows of (token, weight) by name."""

_WORD = re.compile(r"\S+")

_MOST_LETTERS = 12_000
"""Far more than any model reads; what lies beyond would only take time."""
_MOST_SHOWN = 1_000
"""Letters at each end of what was cut."""


@dataclass(frozen=True)
class ReadPrompt:
    """One prompt, ready for T5."""

    cleaned: CleanedPrompt
    text: str
    tokens: FittedTokens[tuple[Any, float]]
    cut: str
    """The words beyond the limit, as they were written; the middle left out of very many."""
    unread: tuple[str, ...]
    """What of it the model does not get to read, a phrase each; empty if it reads all."""
    limit: int

    @property
    def notice(self) -> str:
        """How many tokens it takes, and what is not read."""
        return ". ".join([f"{len(self.tokens.kept)} of {self.limit} tokens", *self.unread])


def read_prompt(
    tokenize: Tokenize, text: str, cleaning: str, variant: Variant | None
) -> ReadPrompt:
    """Clean, tokenize and cut a prompt; without a variant, at what no model exceeds.

    Raises ConditioningError where the tokens are not T5's alone, and for a text that is none.
    """
    limit = variant.tokens if variant else LONGEST_PROMPT
    whole, text = text, text[:_MOST_LETTERS]
    cleaned = clean(pieces_of(text), cleaning, variant.family if variant else None)
    written = text if cleaned.text == text else text_of(cleaned.pieces)
    tokens = fit_tokens(_t5_tokens(tokenize, written), limit)
    unread = []
    if text.strip() and not cleaned.text.strip():
        unread.append(f'The cleaning "{cleaned.cleaning}" left nothing of the prompt')
    if len(whole) > len(text):
        unread.append(f"Of {len(whole):,} letters only the first {len(text):,} were read")
    cut = _cut_words(tokenize, cleaned, limit) if tokens.cut else ""
    if cut:
        unread.append(f"Cut: {cut}")
    return ReadPrompt(cleaned, written, tokens, cut, tuple(unread), limit)


def _cut_words(tokenize: Tokenize, prompt: CleanedPrompt, limit: int) -> str:
    """Return the words that do not fit wholly into the limit, as they were written."""
    ends = [found.end() for found in _WORD.finditer(prompt.text)]

    def tokens_up_to(end: int) -> int:
        return len(_t5_tokens(tokenize, text_of(prompt.up_to(end))))

    fitting = bisect_right(ends, limit, key=tokens_up_to)
    cut = prompt.text[ends[fitting - 1] if fitting else 0 :].strip()
    more = len(cut) - 2 * _MOST_SHOWN
    if more <= 0:
        return cut
    return f"{cut[:_MOST_SHOWN]} … ({more:,} letters) … {cut[-_MOST_SHOWN:]}"


def _t5_tokens(tokenize: Tokenize, text: str) -> list[tuple[Any, float]]:
    tokens = tokenize(text, tokenizer_options={UNCUT: True})
    if list(tokens) == [TOKENS_KEY]:
        return real_tokens(tokens[TOKENS_KEY])
    raise unreadable_by(f"one with tokens of {', '.join(tokens) or 'no kind'}")


def unreadable_by(found: str) -> ConditioningError:
    """Say that a text encoder is not T5."""
    return ConditioningError(
        "The prompt cannot be read by this text encoder",
        found=found,
        expected="T5 alone",
        advice="Load a T5 file with Load T5 for PixArt.",
    )
