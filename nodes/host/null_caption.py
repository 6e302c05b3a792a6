"""The caption that a model learned for no caption."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...pixart_core.errors import ConditioningError
from .conditioning import MASK
from .model import variant_of


def null_conditioning(model: Any, positive: Any) -> Any:
    """Return the learned null caption as a CONDITIONING.

    It is attended over as many tokens as the first entry of ``positive`` has, row by row; over
    all without it. Raises ConditioningError for a model without one.
    """
    caption = _null_caption(model)
    rows = [len(caption)] if positive is None else _lengths(positive)
    longest = min(max(rows), len(caption))
    mask = torch.stack([(torch.arange(longest) < row).long() for row in rows])
    embedding = caption[:longest].expand(len(rows), -1, -1).clone()
    return [[embedding, {"pooled_output": None, MASK: mask}]]


def _null_caption(model: Any) -> Tensor:
    if variant_of(model) is None:
        found = f"a {type(model.model).__name__}"
    else:
        weights = model.model.diffusion_model.state_dict()
        caption = weights.get("y_embedder.y_embedding")
        if caption is not None:
            return caption.detach().float().cpu()  # type: ignore[no-any-return]
        found = "a file without y_embedder.y_embedding"
    raise ConditioningError(
        "There is no null caption to take from this model",
        found=found,
        expected="a PixArt model in its original layout, which keeps one",
        advice="Use an empty PixArt Prompt as the negative instead.",
    )


def _lengths(positive: Any) -> list[int]:
    embedding, extras = positive[0]
    mask = extras.get(MASK)
    if mask is None:
        return [embedding.shape[1]] * embedding.shape[0]
    return [max(1, int(row)) for row in (mask.flatten(0, -2) > 0).sum(-1)]
