"""Our transformer against diffusers', with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from devtools import parity
from devtools.reference import (
    FAMILIES,
    ReferenceFamily,
    diffusers_output,
    diffusers_transformer,
    our_transformer,
    relative_error,
)
from pixart_core.network import NetworkConfig, PixArtTransformer

CLOSE = 1e-5


def inputs(
    family: ReferenceFamily, rows: int, columns: int, lengths: list[int]
) -> dict[str, Tensor]:
    """Return random inputs for a batch of prompts of these lengths."""
    generator = torch.Generator().manual_seed(1)
    longest, batch = max(lengths), len(lengths)
    return {
        "x": torch.randn(batch, 4, rows, columns, generator=generator),
        "t": torch.tensor([999.0, 400.0, 0.0, 731.0])[:batch],
        "context": torch.randn(batch, longest, 64, generator=generator),
        "mask": torch.tensor([[1] * n + [0] * (longest - n) for n in lengths]),
        "size": torch.tensor([[rows * 8, columns * 8]]).expand(batch, -1),
    }


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("shape", ["square", "wide", "tall"])
def test_equals_diffusers(family: ReferenceFamily, shape: str) -> None:
    side = family.sample_size // 2
    rows, columns = {
        "square": (family.sample_size, family.sample_size) if side <= 32 else (side, side),
        "wide": (side, side * 2 - 6),
        "tall": (side + 10, side // 2),
    }[shape]
    reference = diffusers_transformer(family)
    ours = our_transformer(reference, family)
    given = inputs(family, rows, columns, [family.tokens, 7, 1])
    with torch.no_grad():
        error = relative_error(ours(**given), diffusers_output(reference, **given))
    assert error <= CLOSE


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@torch.no_grad()
def test_a_row_alone_equals_itself_in_a_batch(family: ReferenceFamily) -> None:
    model = our_transformer(diffusers_transformer(family), family)
    lengths = [5, 60, 1]
    given = inputs(family, 16, 24, lengths)
    together = model(**given)
    for row, length in enumerate(lengths):
        alone = {key: value[row : row + 1] for key, value in given.items()}
        trimmed = {**alone, "context": alone["context"][:, :length], "mask": None}
        assert relative_error(model(**trimmed), together[row : row + 1]) <= CLOSE


@torch.no_grad()
def test_tokens_lie_in_memory_one_after_the_other() -> None:
    """Or every norm would copy them."""
    family = FAMILIES[1]
    model = our_transformer(diffusers_transformer(family), family)
    given = inputs(family, 8, 12, [5, 2])
    state = model.prepare(given["x"], given["t"], given["context"], given["mask"], given["size"])
    assert state.tokens.is_contiguous()
    assert model.run_block(0, state.tokens, state).is_contiguous()


@torch.no_grad()
def test_padding_takes_no_part() -> None:
    family = FAMILIES[0]
    model = our_transformer(diffusers_transformer(family), family)
    given = inputs(family, 32, 32, [9, 4])
    before = model(**given)
    given["context"][1, 4:] = 1e4
    assert torch.equal(before, model(**given))


def entering(model: PixArtTransformer, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Run a model and return what enters its embedders and its first block."""
    seen: dict[str, Tensor] = {}
    places = {
        "time": model.t_embedder.mlp[0],
        "size": model.csize_embedder.mlp[0],
        "tokens": next(model.blocks[0].children()),
    }
    for name, module in places.items():
        module.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
    model(**given)
    return seen


@torch.no_grad()
def test_bf16_keeps_positions_times_and_sizes_exact() -> None:
    """At bf16, 999 would become 1000 and 1023 pixels 1024, were they ever rounded."""
    family = FAMILIES[2]
    model = our_transformer(diffusers_transformer(family), family).bfloat16()
    given = inputs(family, 32, 32, [3])
    given |= {"x": torch.zeros(1, 4, 32, 32), "size": torch.tensor([[1023, 777]])}
    seen = entering(model, {**given, "x": given["x"].bfloat16()})
    wanted = entering(our_transformer(diffusers_transformer(family), family), given)
    assert torch.equal(seen["time"], wanted["time"].bfloat16())
    assert torch.equal(seen["size"], wanted["size"].bfloat16())
    # An angle computed in bf16 would be off by up to 0.2 here; rounding its sine by 0.004.
    assert (seen["tokens"].float() - wanted["tokens"]).abs().max() < 0.05


@torch.no_grad()
def test_a_model_with_size_conditions_needs_the_size() -> None:
    family = FAMILIES[2]
    model = our_transformer(diffusers_transformer(family), family)
    given = {**inputs(family, 16, 16, [3]), "size": None}
    with pytest.raises(ValueError, match="without knowing the picture's size: found no size"):
        model(**given)


def test_hidden_size_must_hold_whole_heads() -> None:
    with pytest.raises(ValueError, match="not a multiple of the head size 72"):
        NetworkConfig(1, 100, 400, 4, 8, 2, 64, 32, False, 0)


def test_the_parity_command_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert parity.main([]) == 0
    assert "sigma-512" in capsys.readouterr().out
