"""T5 as an ordinary CLIP of the host, in the host's own T5."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import comfy.sd
import comfy.sd1_clip
import comfy.supported_models_base
import comfy.text_encoders.pixart_t5
import folder_paths
import torch

from ...pixart_core.checkpoint.completeness import check_complete
from ...pixart_core.checkpoint.reading import read_tensors, shapes_of
from ...pixart_core.text.t5 import T5Shape, detect_t5, encoder_tensors, tensor_shapes
from ...pixart_core.text.tokens import fit_tokens
from ...pixart_core.variants import LONGEST_PROMPT

log = logging.getLogger("pixart")

PRECISIONS = {
    "auto": None,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

DEVICES = {"auto": {}, "cpu": {"load_device": "cpu", "offload_device": "cpu"}}
"""What each choice sets among the host's model options."""

TOKENS_KEY = "t5xxl"
"""Name under which the host, and other packs, look for T5's tokens and weights."""

UNCUT = "pixart_uncut"
"""Tokenizer option by which a node says that it cuts the tokens itself."""


class PixArtT5(comfy.sd1_clip.SD1ClipModel):  # type: ignore[misc]
    """The host's T5 without padding, so that a conditioning holds the real tokens alone."""

    def __init__(
        self, device: str = "cpu", dtype: Any = None, model_options: dict[str, Any] | None = None
    ) -> None:
        super().__init__(
            device=device,
            dtype=dtype,
            name=TOKENS_KEY,
            clip_model=comfy.text_encoders.pixart_t5.T5XXLModel,
            model_options=model_options or {},
        )


class PixArtTokenizer(comfy.sd1_clip.SD1Tokenizer):  # type: ignore[misc]
    """The host's T5 tokenizer, cutting a prompt at the longest that any PixArt reads."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        super().__init__(
            embedding_directory=embedding_directory,
            tokenizer_data=tokenizer_data or {},
            name=TOKENS_KEY,
            tokenizer=comfy.text_encoders.pixart_t5.T5XXLTokenizer,
        )
        # The tokenizer would warn at 512 tokens of a limit that is not PixArt's.
        self.t5xxl.tokenizer.model_max_length = self.t5xxl.max_length

    def tokenize_with_weights(
        self, text: str, return_word_ids: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """Tokenize: {"t5xxl": [[(token, weight), …, end]]}; uncut with the option UNCUT."""
        tokens: dict[str, Any] = super().tokenize_with_weights(text, return_word_ids, **kwargs)
        if kwargs.get("tokenizer_options", {}).get(UNCUT):
            return tokens
        (row,) = tokens[TOKENS_KEY]
        fitted = fit_tokens(row, LONGEST_PROMPT)
        if fitted.cut:
            log.warning(
                "A prompt is longer than any PixArt model reads; its last %d tokens are left out.",
                len(fitted.cut),
            )
        return {TOKENS_KEY: [fitted.kept]}


def load_text_encoder(
    path: Path, precision: str, device: str, disable_dynamic: bool = False
) -> comfy.sd.CLIP:
    """Load a T5 file as a CLIP; raise CheckpointError where it is none."""
    tensors = read_tensors(path)
    shape = detect_t5(shapes_of(tensors))
    tensors = encoder_tensors(tensors)
    check_complete(shapes_of(tensors), tensor_shapes(shape), "T5 encoder")
    dtype = PRECISIONS[precision] or tensors["shared.weight"].dtype
    target = comfy.supported_models_base.ClipTarget(PixArtTokenizer, PixArtT5)
    options = {
        **{name: torch.device(place) for name, place in DEVICES[device].items()},
        "dtype": dtype,
        "t5xxl_model_config": _host_config(shape),
    }
    clip = comfy.sd.CLIP(
        target,
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        state_dict=[tensors],
        model_options=options,
        disable_dynamic=disable_dynamic,
    )
    clip.patcher.cached_patcher_init = (_load_patcher, (path, precision, device))
    return clip


def _load_patcher(path: Path, precision: str, device: str, disable_dynamic: bool = False) -> Any:
    return load_text_encoder(path, precision, device, disable_dynamic).patcher


def _host_config(shape: T5Shape) -> dict[str, Any]:
    return {
        "num_layers": shape.layers,
        "d_model": shape.width,
        "d_kv": shape.head_size,
        "num_heads": shape.heads,
        "d_ff": shape.mlp_size,
    }
