"""T5's shape, the token limit, and cleaning."""

from __future__ import annotations

import pytest
import torch
from transformers import T5Config, T5EncoderModel

from pixart_core.checkpoint.reading import shapes_of
from pixart_core.errors import CheckpointError
from pixart_core.text.t5 import T5Shape, detect_t5, encoder_tensors, tensor_shapes
from pixart_core.text.tokens import fit_tokens, real_tokens


def tiny_t5() -> dict[str, torch.Tensor]:
    """Return the tensors of a tiny T5 v1.1 encoder as transformers saves them."""
    config = T5Config(
        d_model=48, d_kv=8, d_ff=96, num_layers=3, num_heads=4, feed_forward_proj="gated-gelu"
    )
    return dict(T5EncoderModel(config).state_dict())


def test_the_shape_is_inferred() -> None:
    assert detect_t5(shapes_of(tiny_t5())) == T5Shape(3, 48, 4, 8, 96)


def test_every_tensor_of_an_encoder_is_known() -> None:
    tensors = encoder_tensors(tiny_t5())
    assert shapes_of(tensors) == tensor_shapes(detect_t5(shapes_of(tensors)))


def test_the_embedding_may_have_either_name() -> None:
    tensors = tiny_t5()
    both = encoder_tensors(tensors)
    tensors["encoder.embed_tokens.weight"] = tensors.pop("shared.weight")
    assert detect_t5(shapes_of(tensors)).width == 48
    assert encoder_tensors(tensors).keys() == both.keys()


def test_a_decoder_is_left_out() -> None:
    tensors = {**tiny_t5(), "decoder.final_layer_norm.weight": torch.ones(48)}
    assert not any(key.startswith("decoder") for key in encoder_tensors(tensors))


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ({"t_block.1.weight": (6, 1)}, "a PixArt model"),
        ({"encoder.block.0.layer.1.DenseReluDense.wi.weight": (1, 1)}, "a T5 of version 1.0"),
        ({"x": (1,)}, "1 tensors of another kind"),
    ],
)
def test_other_files_are_refused(shapes: dict[str, tuple[int, ...]], found: str) -> None:
    with pytest.raises(CheckpointError, match=f"as a T5 text encoder: found {found}"):
        detect_t5(shapes)


def test_heads_that_do_not_fit_are_refused() -> None:
    bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    for heads in (0, 5):
        with pytest.raises(CheckpointError, match=f"found {heads} heads in 32 channels"):
            detect_t5(shapes_of(tiny_t5()) | {bias: (32, heads)})
    with pytest.raises(CheckpointError, match="cannot be loaded as a T5"):
        detect_t5(shapes_of(tiny_t5()) | {bias: ()})


def test_another_vocabulary_is_refused() -> None:
    shapes = shapes_of(tiny_t5()) | {"shared.weight": (250112, 48)}
    with pytest.raises(CheckpointError, match="a vocabulary of 250112"):
        detect_t5(shapes)


@pytest.mark.parametrize(
    ("count", "limit", "kept", "cut"),
    [(3, 5, 3, 0), (5, 5, 5, 0), (6, 5, 5, 1), (2001, 120, 120, 1881), (1, 120, 1, 0)],
)
def test_prompts_are_cut_before_their_end_token(
    count: int, limit: int, kept: int, cut: int
) -> None:
    tokens = [*range(100, 100 + count - 1), 1]
    fitted = fit_tokens(tokens, limit)
    assert (len(fitted.kept), len(fitted.cut)) == (kept, cut)
    assert fitted.kept[-1] == 1
    assert [*fitted.kept[:-1], *fitted.cut, 1] == tokens


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ([[5, 6, 1]], [5, 6]),
        ([[5, 6, 1, 0, 0]], [5, 6]),
        ([[5, 6, 1], [7, 8, 1, 0]], [5, 6, 7, 8]),
        ([[5, 1, 6, 1, 0]], [5, 1, 6]),
        ([[5, 1, 1]], [5, 1]),
        ([[1, 0, 0]], []),
        ([[]], []),
    ],
)
def test_padding_and_chunks_of_other_tokenizers_are_undone(
    rows: list[list[int]], kept: list[int]
) -> None:
    weighted = [[(token, 1.2) for token in row] for row in rows]
    assert real_tokens(weighted) == [*((token, 1.2) for token in kept), (1, 1.0)]
