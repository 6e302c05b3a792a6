"""From prompts to a CONDITIONING."""

from __future__ import annotations

import logging
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.sd
import comfy.utils
import torch
from torch import Tensor

from ...pixart_core.errors import ConditioningError
from ...pixart_core.text.cleaning import AUTO, CLEANINGS, CleanedPrompt, clean
from ...pixart_core.text.saved import PromptNote
from ...pixart_core.text.tokens import FittedTokens, fit_tokens, real_tokens
from ...pixart_core.variants import LONGEST_PROMPT, Variant
from .caption import batch_of
from .model import require_variant
from .prompt_text import pieces_of, text_of
from .t5_tokens import TOKENS_KEY, UNCUT

log = logging.getLogger("pixart")

_WORD = re.compile(r"\S+")

_MOST_LETTERS = 20_000
"""Far more than any model reads; what lies beyond would only take time."""
_MOST_SHOWN = 1_000
"""Letters at each end of what was cut."""

CLEANING_CHOICES = [AUTO, *CLEANINGS]

MASK = "attention_mask"
"""The host's name for which tokens of a conditioning are real."""

PROMPT_NOTE = "pixart_note"
"""Beside a conditioning: a `Noted`, which goes into its file if it is saved."""


@dataclass(frozen=True, eq=False)
class Noted:
    """A note, and the very tensor that it speaks of.

    Other nodes make new tensors but copy what stands beside them. It is no tuple, because the
    host's training node would walk through its numbers.
    """

    note: PromptNote
    embedding: Tensor | None


@dataclass(frozen=True)
class EncodedPrompt:
    """Prompts after T5."""

    conditioning: Any
    """The host's CONDITIONING, holding the real tokens alone, or a batch padded and masked."""
    text: str
    """What was tokenized, weights and all; a prompt a line."""
    notice: str
    """How many tokens it took, and which words were cut."""
    count: int
    """How many prompts."""


@dataclass(frozen=True)
class _ReadPrompt:
    """One prompt, ready for T5."""

    cleaned: CleanedPrompt
    text: str
    tokens: FittedTokens[tuple[Any, float]]
    unread: tuple[str, ...]
    """What of it the model does not get to read, a phrase each; empty if it reads all."""
    limit: int

    @property
    def notice(self) -> str:
        """How many tokens it takes, and what is not read."""
        return ". ".join([f"{len(self.tokens.kept)} of {self.limit} tokens", *self.unread])


def encode_prompts(
    clip: comfy.sd.CLIP | None, texts: Sequence[str], cleaning: str, model: Any
) -> EncodedPrompt:
    """Clean, tokenize, cut and encode prompts; each is encoded once, however often it comes.

    ``model`` is a PixArt MODEL, whose family decides cleaning and token limit, or None. Raises
    ConditioningError for no prompts, a CLIP without T5, a MODEL that is no PixArt, or an
    embedding that is not finite.
    """
    if not texts:
        raise ConditioningError(
            "There is nothing to encode",
            found="no prompts",
            expected="at least one line of text",
            advice="Write a prompt on each line.",
        )
    if clip is None:  # from a checkpoint without a text encoder
        raise _unreadable("none")
    variant = None if model is None else require_variant(model)
    read = [_read(clip, text, cleaning, variant) for text in texts]
    _warn(read)
    conditioning = _together(_encode_all(clip, read))
    lines = "\n".join(prompt.text for prompt in read)
    note = _note(clip, lines, read[0].cleaned.cleaning, variant)
    conditioning[0][1][PROMPT_NOTE] = Noted(note, conditioning[0][0])
    return EncodedPrompt(conditioning, lines, _tell(read), len(read))


def t5_of(clip: comfy.sd.CLIP) -> tuple[str, str]:
    """Return name and precision of a text encoder, empty where another node loaded it."""
    source = getattr(clip.cond_stage_model, "source", None)
    return (source.name, source.precision) if source else ("", "")


def _read(clip: comfy.sd.CLIP, text: str, cleaning: str, variant: Variant | None) -> _ReadPrompt:
    limit = variant.tokens if variant else LONGEST_PROMPT
    whole, text = text, text[:_MOST_LETTERS]
    cleaned = clean(pieces_of(text), cleaning, variant.family if variant else None)
    written = text if cleaned.text == text else text_of(cleaned.pieces)
    tokens = fit_tokens(_t5_tokens(clip, written), limit)
    unread = []
    if text.strip() and not cleaned.text.strip():
        unread.append(f'The cleaning "{cleaned.cleaning}" left nothing of the prompt')
    if len(whole) > len(text):
        unread.append(f"Of {len(whole):,} letters only the first {len(text):,} were read")
    if tokens.cut:
        unread.append(f"Cut: {_cut_words(clip, cleaned, limit)}")
    return _ReadPrompt(cleaned, written, tokens, tuple(unread), limit)


def _cut_words(clip: comfy.sd.CLIP, prompt: CleanedPrompt, limit: int) -> str:
    """Return the words that do not fit wholly into the limit, as they were written."""
    ends = [found.end() for found in _WORD.finditer(prompt.text)]

    def tokens_up_to(end: int) -> int:
        return len(_t5_tokens(clip, text_of(prompt.up_to(end))))

    fitting = bisect_right(ends, limit, key=tokens_up_to)
    cut = prompt.text[ends[fitting - 1] if fitting else 0 :].strip()
    more = len(cut) - 2 * _MOST_SHOWN
    if more <= 0:
        return cut
    return f"{cut[:_MOST_SHOWN]} … ({more:,} letters) … {cut[-_MOST_SHOWN:]}"


def _warn(read: Sequence[_ReadPrompt]) -> None:
    for notice in dict.fromkeys(prompt.notice for prompt in read if prompt.unread):
        log.warning("Not all of a prompt is read: %s", notice)
    for notice in dict.fromkeys(p.cleaned.notice for p in read if p.cleaned.notice):
        log.warning("%s.", notice)


def _encode_all(clip: comfy.sd.CLIP, read: Sequence[_ReadPrompt]) -> list[Any]:
    """Return the conditioning of each prompt; those that are the same are encoded once."""
    encoded: dict[str, Any] = {}
    distinct = {prompt.text: prompt for prompt in read}
    bar = comfy.utils.ProgressBar(len(distinct))
    for text, prompt in distinct.items():
        comfy.model_management.throw_exception_if_processing_interrupted()
        encoded[text] = clip.encode_from_tokens_scheduled({TOKENS_KEY: [prompt.tokens.kept]})
        for embedding, _ in encoded[text]:
            _check_finite(clip, embedding)
        bar.update(1)
    return [encoded[prompt.text] for prompt in read]


def _together(conditionings: list[Any]) -> Any:
    """Return the rows as one batch: (L, C) each -> (rows, longest, C), with a mask."""
    if len(conditionings) == 1:
        return [[embedding, dict(extras)] for embedding, extras in conditionings[0]]
    if any(len(conditioning) != 1 for conditioning in conditionings):
        raise ConditioningError(
            "The prompts cannot become one batch",
            found="a text encoder whose LoRA changes with time",
            expected="one embedding for each prompt",
            advice="Remove the schedule of the LoRA, or use a PixArt Prompt for each.",
        )
    rows = [conditioning[0][0] for conditioning in conditionings]
    embedding, mask = batch_of(rows)
    return [[embedding, {**conditionings[0][0][1], MASK: mask}]]


def _note(clip: comfy.sd.CLIP, text: str, cleaning: str, variant: Variant | None) -> PromptNote:
    name, precision = t5_of(clip)
    return PromptNote(text, cleaning, variant.family if variant else "", name, precision)


def _tell(read: Sequence[_ReadPrompt]) -> str:
    told = [prompt.notice for prompt in read]
    if len(told) > 1:
        told = [f"{i}: {notice}" for i, notice in enumerate(told, 1)]
    aside = dict.fromkeys(prompt.cleaned.notice for prompt in read if prompt.cleaned.notice)
    return "\n".join([*told, *aside])


def _t5_tokens(clip: comfy.sd.CLIP, text: str) -> list[tuple[Any, float]]:
    tokens = clip.tokenize(text, tokenizer_options={UNCUT: True})
    if list(tokens) == [TOKENS_KEY]:
        return real_tokens(tokens[TOKENS_KEY])
    raise _unreadable(f"one with tokens of {', '.join(tokens) or 'no kind'}")


def _unreadable(found: str) -> ConditioningError:
    return ConditioningError(
        "The prompt cannot be read by this text encoder",
        found=found,
        expected="T5 alone",
        advice="Load a T5 file with Load T5 for PixArt.",
    )


def _check_finite(clip: comfy.sd.CLIP, embedding: Tensor) -> None:
    if torch.isfinite(embedding).all():
        return
    _, precision = t5_of(clip)
    dtypes = {str(p.dtype).removeprefix("torch.") for p in clip.cond_stage_model.parameters()}
    raise ConditioningError(
        "T5, which reads the prompt, did not give a usable embedding",
        found="values that are not finite (NaN or infinity) with weights in "
        f"{' and '.join(sorted(dtypes))}"
        + (f', the precision being "{precision}"' if precision else ""),
        expected="finite numbers",
        advice="Set the precision of Load T5 for PixArt to bf16 or fp32; if that does not help, "
        "the file is damaged.",
    )
