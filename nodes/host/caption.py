"""Captions of different length side by side in one batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import comfy.conds
import torch
from torch import Tensor
from torch.nn import functional

from ...pixart_core.errors import ConditioningError
from ...pixart_core.network.once import Once, counting
from ...pixart_core.variants import Variant

log = logging.getLogger("pixart")


class SteadyCondition(comfy.conds.CONDRegular):  # type: ignore[misc]
    """A tensor that comes to the model as the same tensor in every step.

    What is made of it can then be kept. ``once`` is shared by its copies.
    """

    def __init__(self, cond: Tensor, once: Once | None = None) -> None:
        super().__init__(counting(cond))
        self.once = once or Once()

    def process_cond(self, batch_size: int, **kwargs: Any) -> SteadyCondition:
        """Repeat for a batch."""
        repeat = super().process_cond
        return self._copy_with(
            self.once(batch_size, [self.cond], lambda: repeat(batch_size, **kwargs).cond)
        )

    def _copy_with(self, cond: Tensor) -> SteadyCondition:
        return type(self)(cond, self.once)

    def concat(self, others: Sequence[SteadyCondition]) -> Tensor:
        """Stack along the batch."""
        tensors = [self.cond, *(other.cond for other in others)]
        return self.once("concat", tensors, lambda: self._stack(tensors))

    def _stack(self, tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(tensors))


class CaptionCondition(SteadyCondition):
    """A tensor whose second axis counts tokens; shorter ones are padded with zeros.

    Used for a caption and for its mask alike, so that padding is always masked.
    """

    def can_concat(self, other: CaptionCondition) -> bool:
        """Whether the two differ in length alone."""
        mine, theirs = self.cond, other.cond
        same_shape = mine.shape[:1] + mine.shape[2:] == theirs.shape[:1] + theirs.shape[2:]
        return bool(same_shape and mine.device == theirs.device)

    def _stack(self, tensors: Sequence[Tensor]) -> Tensor:
        """(B1, L1, …), (B2, L2, …) -> (B1 + B2, longest, …)."""
        longest = max(tensor.shape[1] for tensor in tensors)
        return torch.cat([lengthened(tensor, longest) for tensor in tensors])


def fit_caption(
    caption: Tensor, mask: Tensor | None, channels: int, variant: Variant
) -> tuple[Tensor, Tensor]:
    """Return caption (B, L, C) and mask (B, L) int64 within the variant's token limit.

    Raises ConditioningError for an embedding of another text encoder.
    """
    if caption.ndim != 3 or caption.shape[-1] != channels:
        raise ConditioningError(
            "The prompt does not fit this PixArt model",
            found=f"an embedding of shape {tuple(caption.shape)}",
            expected=f"T5 embeddings {channels} wide",
            advice="Encode the prompt with the T5 that belongs to the model, from Load T5 for "
            "PixArt.",
        )
    mask = whole_mask(caption, mask)
    if not bool(mask.any(1).all()):
        raise ConditioningError(
            "The prompt cannot be read",
            found=f"an embedding without tokens, of shape {tuple(caption.shape)}",
            expected="one token or more: even an empty prompt has its end token",
            advice="Encode the prompt with PixArt Prompt.",
        )
    if caption.shape[1] > variant.tokens:
        log.warning(
            "A prompt of %d tokens is longer than %s reads; the last %d are left out. Connect the "
            "model to PixArt Prompt, and the log says what is cut.",
            caption.shape[1],
            variant.name,
            caption.shape[1] - variant.tokens,
        )
    return caption[:, : variant.tokens], mask[:, : variant.tokens]


def check_rows(caption: Tensor, latent: Tensor) -> None:
    """Raise ConditioningError unless there is one prompt, or one for each picture.

    The host would leave out the prompts that are too many, and repeat those that are too few.
    """
    if caption.shape[0] not in (1, latent.shape[0]):
        raise ConditioningError(
            "The prompts do not fit the batch",
            found=f"{caption.shape[0]} prompts for {latent.shape[0]} pictures",
            expected="as many prompts as pictures, or one for all",
            advice="Connect the count of PixArt Prompt Batch to the batch size of PixArt "
            "Resolution.",
        )


def batch_of(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return captions (1, L, C) each as one (B, longest, C), and their mask (B, longest) int64."""
    longest = max(row.shape[1] for row in rows)
    masks = [torch.ones(1, row.shape[1], dtype=torch.long, device=row.device) for row in rows]
    return (
        torch.cat([lengthened(row, longest) for row in rows]),
        torch.cat([lengthened(mask, longest) for mask in masks]),
    )


def whole_mask(caption: Tensor, mask: Tensor | None) -> Tensor:
    """Return a mask (B, L) int64 for a caption (B, L, C), mended where another node broke it."""
    rows, length = caption.shape[:2]
    if mask is None:
        return torch.ones(rows, length, dtype=torch.long, device=caption.device)
    # The host's own concat node lengthens a caption but not its mask.
    mask = (mask.flatten(0, -2) > 0).long().to(caption.device)[:, :length]
    mask = mask.expand(rows, -1)
    return torch.cat([mask, _real_tokens(caption[:, mask.shape[1] :])], dim=1)


def _real_tokens(added: Tensor) -> Tensor:
    """Return the mask of tokens that were added without one: a batch's padding is all zeros."""
    real = added.count_nonzero(-1) > 0
    # A caption that another node has set to zero is meant to be read.
    return (real | ~real.any(1, keepdim=True)).long()


def lengthened(tensor: Tensor, length: int) -> Tensor:
    """Pad the second axis with zeros: (B, L, …) -> (B, length, …)."""
    missing = [0, length - tensor.shape[1]]
    return functional.pad(tensor, [0, 0] * (tensor.ndim - 2) + missing)
