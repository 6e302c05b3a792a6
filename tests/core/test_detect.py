"""What is said of a model that cannot be told, whole sentences."""

from __future__ import annotations

import pytest

from pixart_core.checkpoint.detect import detect
from pixart_core.errors import CheckpointError
from pixart_core.network.config import KVCompression
from pixart_core.variants import VARIANTS

from .test_wrappings import OURS

SHAPES = {key: tuple(tensor.shape) for key, tensor in OURS.items()}
"""Of a model with three blocks."""
LEARNED = {f"blocks.{block}.attn.sr.weight": (72, 1, 3, 2) for block in (1, 0)}


def sentence(shapes: dict[str, tuple[int, ...]], **given: object) -> str:
    with pytest.raises(CheckpointError) as raised:
        detect(shapes, **given)  # type: ignore[arg-type]
    return str(raised.value)


def test_a_compression_that_the_file_shows_is_not_chosen() -> None:
    assert sentence({**SHAPES, **LEARNED}, compression=KVCompression("ave", 2, (0,))) == (
        "The file cannot be loaded with the KV compression ave: found tensors of a learned "
        "compression, expected no choice, for the file says it itself. Leave the KV compression "
        "to the file."
    )


def test_a_compression_must_reach_a_block() -> None:
    blocks = 1 + max(int(key.split(".")[1]) for key in SHAPES if key.startswith("blocks."))
    beyond = KVCompression("ave", 2, (blocks + 1, blocks))
    assert sentence(SHAPES, compression=beyond) == (
        f"The file cannot be loaded with the KV compression ave: found block {blocks} as the first "
        f"that compresses, expected one of the model's {blocks} blocks, counted from 0. Set First "
        "KV block as in the training configuration."
    )
    within = KVCompression("ave", 2, (blocks - 1, blocks))
    network = detect(SHAPES, compression=within).network
    assert network.kv_compression == KVCompression("ave", 2, (blocks - 1,))


def test_a_learned_compression_is_read_from_its_kernels() -> None:
    network = detect({**SHAPES, **LEARNED}).network
    assert network.kv_compression == KVCompression("conv", 2, (0, 1))
    empty = dict.fromkeys(LEARNED, ())
    compression = detect({**SHAPES, **empty}).network.kv_compression
    assert compression == KVCompression("conv", 1, (0, 1))


def test_blocks_and_patches_are_within_reason() -> None:
    many = {key.replace("blocks.1.", "blocks.200."): shape for key, shape in SHAPES.items()}
    assert sentence(many) == (
        "This file cannot be loaded as a PixArt model: found 201 blocks and patches of 2, expected "
        "at most 200 blocks, as PixArt has 28 or 42, and patches of 2. Choose a file with a PixArt "
        "model."
    )
    most = {key.replace("blocks.1.", "blocks.199."): shape for key, shape in SHAPES.items()}
    assert detect(most).network.depth == 200
    hidden, channels, _, _ = SHAPES["x_embedder.proj.weight"]
    assert "found 3 blocks and patches of 0" in sentence(
        {**SHAPES, "x_embedder.proj.weight": (hidden, channels, 0, 0)}
    )


def test_a_kind_that_is_not_known_and_a_choice_that_does_not_fit() -> None:
    odd = {**SHAPES, "y_embedder.y_embedding": (77, 4096)}
    names = ", ".join(VARIANTS)
    assert sentence(odd) == (
        "This PixArt model is of a kind that is not known: found a null caption of 77 tokens "
        f"without size conditions, expected one of {names}. Use one of the released models, or a "
        "fine-tune of one."
    )
    assert "77 tokens with size conditions" in sentence({**odd, "ar_embedder.mlp.0.weight": (1,)})
    fits = ", ".join(detect(SHAPES).possible)
    assert sentence(SHAPES, chosen="alpha-1024") == (
        f"The file cannot be loaded as alpha-1024: found tensors that only fit {fits}, expected "
        "tensors of alpha-1024. Set Variant to auto or to one that fits."
    )
