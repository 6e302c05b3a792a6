"""The shape of a T5 encoder, from its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]

_BLOCK = re.compile(r"encoder\.block\.(\d{1,18})\.")
_MOST_BLOCKS = 100
"""T5-XXL has 24."""
_Q = "encoder.block.0.layer.0.SelfAttention.q.weight"
_BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
_GATED = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"
_EMBEDDING = "shared.weight"
_SAME_EMBEDDING = "encoder.embed_tokens.weight"

VOCABULARY = 32128
"""Rows of every T5 v1.1 embedding; the tokenizer's ids fit no other."""


_BUCKETS = 32
"""Rows of the relative position table."""


@dataclass(frozen=True)
class T5Shape:
    """What distinguishes one T5 v1.1 encoder from another."""

    layers: int
    width: int
    heads: int
    head_size: int
    mlp_size: int


def detect_t5(shapes: Shapes) -> T5Shape:
    """Tell the shape of a T5 v1.1 encoder; raise CheckpointError for anything else."""
    embedding = shapes.get(_EMBEDDING) or shapes.get(_SAME_EMBEDDING)
    needed = (embedding, *(shapes.get(key) for key in (_Q, _BIAS, _GATED)))
    if embedding is None or not all(shape and len(shape) == 2 for shape in needed):
        raise CheckpointError(
            "This file cannot be loaded as a T5 text encoder",
            found=_describe(shapes),
            expected=f"a T5 v1.1 encoder, with tensors such as {_Q} and {_GATED}",
            advice="Choose a T5 file such as t5xxl_fp16.safetensors.",
        )
    if embedding[0] != VOCABULARY:
        raise CheckpointError(
            "This file cannot be loaded as a T5 text encoder",
            found=f"a vocabulary of {embedding[0]}",
            expected=f"one of {VOCABULARY}, as in T5 v1.1",
            advice="Choose a T5 v1.1 file (not umT5 or mT5), such as t5xxl_fp16.safetensors.",
        )
    heads = shapes[_BIAS][1]
    if not heads or shapes[_Q][0] % heads:
        raise CheckpointError(
            "This file cannot be loaded as a T5 text encoder",
            found=f"{heads} heads in {shapes[_Q][0]} channels",
            expected="channels that the heads share evenly",
            advice="The file is damaged; download it again.",
        )
    layers = 1 + max(int(found[1]) for key in shapes if (found := _BLOCK.match(key)))
    if layers > _MOST_BLOCKS:
        raise CheckpointError(
            "This file cannot be loaded as a T5 text encoder",
            found=f"{layers} blocks",
            expected=f"at most {_MOST_BLOCKS}, as T5-XXL has 24",
            advice="The file is damaged; download it again.",
        )
    return T5Shape(
        layers=layers,
        width=embedding[1],
        heads=heads,
        head_size=shapes[_Q][0] // heads,
        mlp_size=shapes[_GATED][0],
    )


def transformers_config(shape: T5Shape) -> Any:
    """Return transformers' ``T5Config`` of such an encoder."""
    from transformers import T5Config

    return T5Config(
        d_model=shape.width,
        d_kv=shape.head_size,
        d_ff=shape.mlp_size,
        num_layers=shape.layers,
        num_heads=shape.heads,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
    )


def encoder_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep what belongs to the encoder, the embedding under its one name ``shared.weight``."""
    kept = {key: value for key, value in tensors.items() if key.startswith("encoder.")}
    same = kept.pop(_SAME_EMBEDDING, None)
    embedding = tensors.get(_EMBEDDING, same)
    return kept if embedding is None else {**kept, _EMBEDDING: embedding}


def tensor_shapes(shape: T5Shape) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor of such an encoder."""
    inner = shape.heads * shape.head_size
    shapes: dict[str, tuple[int, ...]] = {
        _EMBEDDING: (VOCABULARY, shape.width),
        _BIAS: (_BUCKETS, shape.heads),
        "encoder.final_layer_norm.weight": (shape.width,),
    }
    for block in range(shape.layers):
        attention, mlp = (f"encoder.block.{block}.layer.{i}." for i in range(2))
        shapes |= {f"{attention}SelfAttention.{x}.weight": (inner, shape.width) for x in "qkv"}
        shapes |= {
            f"{attention}SelfAttention.o.weight": (shape.width, inner),
            f"{attention}layer_norm.weight": (shape.width,),
            f"{mlp}DenseReluDense.wi_0.weight": (shape.mlp_size, shape.width),
            f"{mlp}DenseReluDense.wi_1.weight": (shape.mlp_size, shape.width),
            f"{mlp}DenseReluDense.wo.weight": (shape.width, shape.mlp_size),
            f"{mlp}layer_norm.weight": (shape.width,),
        }
    return shapes


def _describe(shapes: Shapes) -> str:
    if "t_block.1.weight" in shapes or "adaln_single.linear.weight" in shapes:
        return "a PixArt model (Load PixArt Model takes it)"
    if "encoder.block.0.layer.1.DenseReluDense.wi.weight" in shapes:
        return "a T5 of version 1.0, whose layers differ"
    return f"{len(shapes)} tensors of another kind"
