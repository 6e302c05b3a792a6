"""From prompts to a CONDITIONING."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.sd
import comfy.utils
import torch
from torch import Tensor

from ...pixart_core.errors import ConditioningError
from ...pixart_core.text.cleaning import AUTO, CLEANINGS
from ...pixart_core.text.saved import PromptNote
from ...pixart_core.variants import Variant
from .caption import batch_of
from .model import require_variant
from .prompt_reading import ReadPrompt, read_prompt, unreadable_by
from .room import room_for
from .t5_tokens import TOKENS_KEY

log = logging.getLogger("pixart")

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


@room_for(
    "The prompt cannot be encoded",
    "Set T5's Precision to int8 (offloadable) or its Device to cpu; or save the prompts where T5 "
    "fits, and load them here without it.",
)
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
        raise unreadable_by("none")
    variant = None if model is None else require_variant(model)
    read = [read_prompt(clip.tokenize, text, cleaning, variant) for text in texts]
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


def _warn(read: Sequence[ReadPrompt]) -> None:
    for notice in dict.fromkeys(prompt.notice for prompt in read if prompt.unread):
        log.warning("Not all of a prompt is read: %s", notice)
    for notice in dict.fromkeys(p.cleaned.notice for p in read if p.cleaned.notice):
        log.warning("%s.", notice)


def _encode_all(clip: comfy.sd.CLIP, read: Sequence[ReadPrompt]) -> list[Any]:
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


def _tell(read: Sequence[ReadPrompt]) -> str:
    told = [prompt.notice for prompt in read]
    if len(told) > 1:
        told = [f"{i}: {notice}" for i, notice in enumerate(told, 1)]
    aside = dict.fromkeys(prompt.cleaned.notice for prompt in read if prompt.cleaned.notice)
    return "\n".join([*told, *aside])


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
        advice="Load T5 with Load T5 for PixArt, in the precision bf16 or fp32; if that does not "
        "help, the file is damaged.",
    )
