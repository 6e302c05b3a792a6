"""From a prompt to a CONDITIONING."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import comfy.sd
import torch

from ...pixart_core.errors import ConditioningError
from ...pixart_core.text.cleaning import AUTO, CLEANINGS, clean
from ...pixart_core.text.tokens import fit_tokens
from ...pixart_core.variants import LONGEST_PROMPT
from .model import PixArtModel
from .text_encoder import TOKENS_KEY, UNCUT

log = logging.getLogger("pixart")

CLEANING_CHOICES = [AUTO, *CLEANINGS]


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt after T5."""

    conditioning: Any
    """The host's CONDITIONING, holding the real tokens alone."""
    text: str
    """The text that was tokenized."""
    notice: str
    """How many tokens it took, and which words were cut."""


def encode_prompt(clip: comfy.sd.CLIP, text: str, cleaning: str, model: Any) -> EncodedPrompt:
    """Clean, tokenize, cut and encode a prompt.

    ``model`` is a PixArt MODEL, whose family decides cleaning and token limit, or None. Raises
    ConditioningError for a CLIP without T5, a MODEL that is no PixArt, or an embedding that is
    not finite.
    """
    variant = None if model is None else _pixart(model).variant
    limit = variant.tokens if variant else LONGEST_PROMPT
    text = clean(text, cleaning, variant.family if variant else None)
    row = _t5_tokens(clip, text)
    fitted = fit_tokens(row, limit)
    notice = f"{len(fitted.kept)} of {limit} tokens"
    if fitted.cut:
        notice += f". Cut: {_words(clip, fitted.cut)}"
        log.warning("A prompt has %d tokens: %s", len(row), notice)
    conditioning = clip.encode_from_tokens_scheduled({TOKENS_KEY: [fitted.kept]})
    _check_finite(conditioning)
    return EncodedPrompt(conditioning, text, notice)


def _pixart(model: Any) -> PixArtModel:
    if isinstance(model.model, PixArtModel):
        return model.model
    raise ConditioningError(
        "PixArt Prompt cannot take its settings from this model",
        found=f"a {type(model.model).__name__}",
        expected="a model from Load PixArt Model",
        advice="Load the model with Load PixArt Model, or leave this input empty.",
    )


def _t5_tokens(clip: comfy.sd.CLIP | None, text: str) -> list[tuple[Any, float]]:
    # A checkpoint without a text encoder gives None.
    tokens = clip.tokenize(text, tokenizer_options={UNCUT: True}) if clip else {}
    if list(tokens) == [TOKENS_KEY]:
        (row,) = tokens[TOKENS_KEY]
        return row
    raise ConditioningError(
        "PixArt Prompt cannot use this text encoder",
        found=f"one with tokens of {', '.join(tokens) or 'no kind'}",
        expected="T5 alone",
        advice="Load a T5 file with Load T5 for PixArt.",
    )


def _words(clip: comfy.sd.CLIP, tokens: list[tuple[Any, float]]) -> str:
    # Textual inversions stand among the tokens as tensors, and have no words.
    ids = [token for token, *_ in tokens if not torch.is_tensor(token)]
    words: str = clip.tokenizer.decode(ids)
    return words


def _check_finite(conditioning: Any) -> None:
    for embedding, _ in conditioning:
        if not torch.isfinite(embedding).all():
            raise ConditioningError(
                "T5 did not give a usable embedding",
                found="values that are not finite (NaN or infinity)",
                expected="finite numbers",
                advice="Set the precision of Load T5 for PixArt to bf16 or fp32; if that does not "
                "help, the file is damaged.",
            )
