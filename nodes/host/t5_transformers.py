"""T5 in transformers, for weights that bitsandbytes keeps in 8 or 4 bits."""

from __future__ import annotations

from functools import partial
from typing import Any

import comfy.sd1_clip
import torch
from torch import Tensor, nn

from ...pixart_core.text.bits import load_in_bits, quiet
from .t5_tokens import TOKENS_KEY
from .t5_weights import T5Weights


class BitsT5(comfy.sd1_clip.SD1ClipModel):  # type: ignore[misc]
    """A quantised T5, called as the host calls its own."""

    def __init__(self, weights: T5Weights, bits: int) -> None:
        shape = weights.file.shape
        model = load_in_bits(weights.plain(), shape, bits)
        super().__init__(
            name=TOKENS_KEY,
            clip_model=_Encoder,
            model_options={},
            model_class=partial(_Transformer, model, shape.layers),
        )


class _Encoder(comfy.sd1_clip.SDClipModel):  # type: ignore[misc]
    def __init__(
        self,
        device: str = "cpu",
        dtype: Any = None,
        model_options: dict[str, Any] | None = None,
        model_class: Any = None,
    ) -> None:
        super().__init__(
            device=device,
            textmodel_json_config={},
            special_tokens={"end": 1, "pad": 0},
            model_class=model_class,
            model_options=model_options or {},
        )

    def gen_empty_tokens(self, special_tokens: dict[str, int], length: int) -> list[int]:
        """Return what a weight of 0 leaves of a prompt: padding, as in the host's PixArt."""
        return [special_tokens["pad"]] * length


class _Transformer(nn.Module):
    """What the host calls a transformer."""

    def __init__(self, model: Any, layers: int, *_: Any) -> None:
        super().__init__()
        # Under the names that the host's own T5 has for them, by which LoRAs call them.
        self.shared, self.encoder = model.shared, model.encoder
        self.num_layers = layers

    def get_input_embeddings(self) -> Any:
        return self._embed

    def _embed(self, ids: Tensor, out_dtype: torch.dtype) -> Tensor:
        embedded: Tensor = self.shared(ids).to(out_dtype)
        return embedded

    def forward(
        self, ids: None, attention_mask: Tensor | None, *, embeds: Tensor, **_: Any
    ) -> tuple[Tensor, None]:
        """Return the last hidden state, (B, L, C)."""
        with quiet():
            out = self.encoder(
                inputs_embeds=embeds.to(self.shared.weight.dtype), attention_mask=attention_mask
            )
        return out.last_hidden_state, None
