"""What is kept over a run changes no number that counts, and is never stale."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from devtools.reference import (
    FAMILIES,
    ReferenceFamily,
    diffusers_output,
    diffusers_transformer,
    our_transformer,
    relative_error,
)
from pixart_core.network import PixArtTransformer
from pixart_core.network.attention import torch_attention
from pixart_core.network.control import PixArtControl
from pixart_core.network.kept_caption import Shortcuts, row_groups
from pixart_core.network.run_memory import RunMemory

from .test_transformer import inputs

EXACT = 2e-6
FAMILY = FAMILIES[2]
OFF = Shortcuts(**dict.fromkeys((field.name for field in fields(Shortcuts)), False))


def guided(family: ReferenceFamily, lengths: list[int], t: float = 731.0) -> dict[str, Tensor]:
    """Return the inputs of a batch in which all rows share timestep and size."""
    parts = [inputs(family, 8, 12, [length, max(lengths)]) for length in lengths]
    given = {name: torch.cat([part[name][:1] for part in parts]) for name in parts[0]}
    return {**given, "t": torch.full((len(lengths),), t)}


def model_of(family: ReferenceFamily = FAMILY) -> PixArtTransformer:
    return our_transformer(diffusers_transformer(family), family)


@pytest.mark.parametrize("lengths", [[9, 1], [1, 9], [100, 1], [9, 9, 1, 1], [5], [3, 80, 2, 7, 1]])
@pytest.mark.parametrize("family", FAMILIES[1:3], ids=lambda family: family.name)
@torch.no_grad()
def test_every_step_equals_diffusers(family: ReferenceFamily, lengths: list[int]) -> None:
    reference = diffusers_transformer(family)
    ours, memory = our_transformer(reference, family), RunMemory()
    given = guided(family, lengths)
    for t in (999.0, 500.5, 3.0):
        given["t"] = torch.full_like(given["t"], t)
        error = relative_error(ours(**given, memory=memory), diffusers_output(reference, **given))
        assert error <= EXACT


@pytest.mark.parametrize("name", [field.name for field in fields(Shortcuts)])
@torch.no_grad()
def test_each_shortcut_by_itself_is_exact(name: str) -> None:
    model, given = model_of(), guided(FAMILY, [9, 1])
    memory = RunMemory(Shortcuts(**{**OFF.__dict__, "captions": True, "trims": True, name: True}))
    wanted = model(**given)
    for _ in range(3):
        assert relative_error(model(**given, memory=memory), wanted) <= EXACT


@torch.no_grad()
def test_captions_are_projected_once() -> None:
    model, given, memory = model_of(), guided(FAMILY, [9, 1]), RunMemory()
    ran: list[torch.nn.Module] = []
    names = [f"blocks.{index}.cross_attn.kv_linear" for index in range(len(model.blocks))]
    layers = [model.get_submodule(name) for name in ("y_embedder.y_proj.fc1", *names)]
    for layer in layers:
        layer.register_forward_hook(lambda layer, *_: ran.append(layer))
    for t in (900.0, 500.0, 100.0):
        model(**{**given, "t": torch.full((2,), t)}, memory=memory)
    assert ran == layers


@torch.no_grad()
def test_a_short_caption_and_one_of_one_token_need_no_query() -> None:
    model, given, memory = model_of(), guided(FAMILY, [9, 1]), RunMemory()
    rows: list[int] = []

    def counted(q: Tensor, *rest: Any, **options: Any) -> Tensor:
        rows.append(len(q))
        return torch_attention(q, *rest, **options)

    for block in model.blocks:
        block.get_submodule("cross_attn").attention = counted  # type: ignore[assignment]
    for _ in range(3):
        model(**given, memory=memory)
    # Folding begins with the second step.
    assert rows == [1] * len(model.blocks)


@pytest.mark.parametrize("place", ["q_linear", "proj"])
@torch.no_grad()
def test_what_others_do_to_a_projection_acts(place: str) -> None:
    """As LoRAs that are applied beside the weights, and not to them."""
    model, given, memory = model_of(), guided(FAMILY, [9, 1]), RunMemory()
    layer = model.get_submodule(f"blocks.1.cross_attn.{place}")
    before = model(**given)
    original = layer.forward
    layer.forward = lambda x: 2 * original(x)
    for _ in range(3):
        found = model(**given, memory=memory)
    assert relative_error(found, model(**given)) <= EXACT
    assert relative_error(found, before) > 1e-3


@torch.no_grad()
def test_a_changed_caption_is_read_anew() -> None:
    model, given, memory = model_of(), guided(FAMILY, [9, 1]), RunMemory()
    for change in ("in place", "another tensor", "mask"):
        model(**given, memory=memory)
        model(**given, memory=memory)
        if change == "in place":
            given["context"][0] *= -1
        elif change == "another tensor":
            given["context"] = given["context"] + 1
        else:
            given["mask"] = given["mask"].clone()
            given["mask"][0, 5:] = 0
        assert relative_error(model(**given, memory=memory), model(**given)) <= EXACT


def test_a_caption_that_cannot_count_its_changes_is_compared() -> None:
    model, memory = model_of(), RunMemory()
    with torch.inference_mode():
        given = guided(FAMILY, [9, 1])
        assert given["context"].is_inference()
        for _ in range(2):
            model(**given, memory=memory)
        given["context"][0] *= -1
        assert relative_error(model(**given, memory=memory), model(**given)) <= EXACT


@pytest.mark.parametrize(
    "name",
    [
        "blocks.1.cross_attn.kv_linear.weight",
        "blocks.1.cross_attn.q_linear.bias",
        "blocks.0.cross_attn.proj.weight",
        "blocks.2.scale_shift_table",
        "y_embedder.y_proj.fc1.weight",
        "final_layer.scale_shift_table",
        "t_block.1.weight",
        "t_embedder.mlp.0.weight",
        "ar_embedder.mlp.2.bias",
    ],
)
@pytest.mark.parametrize("replaced", [False, True])
@torch.no_grad()
def test_changed_weights_are_noticed(name: str, replaced: bool) -> None:
    model, given, memory = model_of(), guided(FAMILY, [9, 1]), RunMemory()
    for _ in range(2):
        model(**given, memory=memory)
    owner, _, own = name.rpartition(".")
    weight = model.get_parameter(name)
    changed = weight + 0.3 * torch.randn_like(weight)
    if replaced:
        setattr(model.get_submodule(owner), own, torch.nn.Parameter(changed))
    else:
        weight.copy_(changed)
    found, wanted = model(**given, memory=memory), model(**given)
    assert relative_error(found, wanted) <= EXACT


@torch.no_grad()
def test_mixed_timesteps_and_sizes_are_each_rows_own() -> None:
    model, given, memory = model_of(), inputs(FAMILY, 8, 12, [9, 1]), RunMemory()
    assert given["t"][0] != given["t"][1]
    assert relative_error(model(**given, memory=memory), model(**given)) <= EXACT
    given = {**guided(FAMILY, [9, 1]), "size": torch.tensor([[512, 512], [256, 1024]])}
    assert relative_error(model(**given, memory=memory), model(**given)) <= EXACT


@torch.no_grad()
def test_one_memory_serves_two_models_and_several_sizes() -> None:
    memory = RunMemory()
    first, second = model_of(), our_transformer(diffusers_transformer(FAMILY, seed=5), FAMILY)
    for rows, columns in ((16, 24), (24, 16), (16, 24), (8, 8), (10, 10), (12, 12), (16, 24)):
        given = {**inputs(FAMILY, rows, columns, [9, 1]), "t": torch.full((2,), 100.0)}
        for model in (first, second):
            assert relative_error(model(**given, memory=memory), model(**given)) <= EXACT


def test_training_keeps_nothing() -> None:
    model, given, memory = model_of(), guided(FAMILY, [9, 1]), RunMemory()
    for _ in range(2):
        model.zero_grad()
        model(**given, memory=memory).square().mean().backward()
    weight = model.get_parameter("blocks.0.cross_attn.kv_linear.weight")
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


@torch.no_grad()
def test_what_a_controlnet_adds_is_the_same() -> None:
    model, given, memory = model_of(), guided(FAMILY, [9, 1]), RunMemory()
    torch.manual_seed(3)
    control = PixArtControl(replace(model.config, depth=2))
    for parameter in control.parameters():
        parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    skips = control(model, given["x"], torch.randn_like(given["x"]), *list(given.values())[1:])
    for _ in range(3):
        found = model(**given, skips=skips, memory=memory)
        assert relative_error(found, model(**given, skips=skips)) <= EXACT


@torch.no_grad()
def test_bf16_is_no_further_from_fp32_than_diffusers() -> None:
    for family in FAMILIES[:4]:
        reference = diffusers_transformer(family)
        given = guided(family, [24, 1])
        for name in ("x", "context"):
            given[name] = given[name].bfloat16().float()
        exact = diffusers_output(reference, **given)
        rounded = {**given, "x": given["x"].bfloat16(), "context": given["context"].bfloat16()}
        reference = reference.bfloat16()
        ours, memory = our_transformer(reference, family), RunMemory()
        theirs = relative_error(diffusers_output(reference, **rounded), exact)
        for _ in range(2):
            assert relative_error(ours(**rounded, memory=memory), exact) <= theirs


def test_rows_are_grouped_by_their_real_tokens() -> None:
    context = torch.randn(4, 6, 8)
    context[1] = context[0]
    mask = torch.tensor([[1, 1, 1, 0, 0, 0]] * 2 + [[1, 0, 0, 0, 0, 0]] * 2)
    groups = row_groups(context, mask)
    assert groups is not None
    assert [(g.rows.start, g.rows.stop, g.length, g.is_one_caption) for g in groups] == [
        (0, 2, 3, True),
        (2, 4, 1, False),
    ]
    assert row_groups(context, torch.tensor([[0, 1, 1, 0, 0, 0]] * 4)) is None
    assert row_groups(context, torch.zeros(4, 6)) is None
