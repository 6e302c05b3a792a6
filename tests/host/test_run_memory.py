"""What is kept over a run, inside the host: the same pictures, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from devtools.reference import relative_error

LATENT = {"samples": torch.zeros(1, 4, 12, 16)}
CLOSE = 1e-4
"""As far as a whole run may be from diffusers' own; its steps are compared in tests/core."""


def prompts(*lengths: int) -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    return [[[torch.randn(1, n, 128, generator=generator), {}]] for n in lengths or (6, 1)]


def drawn(model: Any, *conds: Any, latent: Any = None, solver: str = "DPM-Solver++") -> Tensor:
    from pixart_pack.nodes.host.sampler import Settings, sample

    settings = Settings(3, 4, 4.5, solver, 1.0)
    with torch.inference_mode():
        out, _ = sample(model, *(conds or prompts()), latent or LATENT, settings)
    found: Tensor = out["samples"]
    return found


def without_shortcuts(model: Any) -> Any:
    from pixart_pack.nodes.host.run import SHORTCUTS
    from pixart_pack.pixart_core.network.kept_caption import Shortcuts

    plain = model.clone()
    options = plain.model_options.setdefault("transformer_options", {})
    names = [field.name for field in fields(Shortcuts)]
    options[SHORTCUTS] = Shortcuts(**dict.fromkeys(names, False))
    return plain


def as_it_is(model: Any) -> Any:
    return model


def with_attention_guidance(model: Any) -> Any:
    from comfy_extras.nodes_nag import NAGuidance

    (patched,) = NAGuidance.execute(model, 5.0, 0.5, 1.5).args
    return patched


def with_another_attention(model: Any) -> Any:
    def halved(attention: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        return attention(*args, **kwargs) / 2

    patched = model.clone()
    patched.model_options["transformer_options"]["optimized_attention_override"] = halved
    return patched


def with_a_skipped_block(model: Any) -> Any:
    from comfy_extras.nodes_slg import SkipLayerGuidanceDiT

    (patched,) = SkipLayerGuidanceDiT.execute(model, 1.0, 0.0, 1.0, "2").args
    return patched


def with_a_lora(model: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    patches = {
        f"diffusion_model.blocks.{index}.cross_attn.{layer}.weight": (
            0.05 * torch.randn(rows, 216, generator=generator),
        )
        for index in range(6)
        for layer, rows in (("q_linear", 216), ("kv_linear", 432), ("proj", 216))
    }
    patched = model.clone()
    assert len(patched.add_patches(patches, 1.0)) == len(patches)
    return patched


@pytest.mark.parametrize(
    "changed",
    [
        as_it_is,
        with_attention_guidance,
        with_another_attention,
        with_a_skipped_block,
        with_a_lora,
    ],
)
def test_the_picture_is_the_same(
    pack: ModuleType, demo: dict[str, Any], changed: Callable[[Any], Any]
) -> None:
    plain = drawn(demo["model"])
    model = changed(demo["model"])
    found = drawn(model)
    assert relative_error(found, drawn(without_shortcuts(model))) <= CLOSE
    assert (relative_error(found, plain) > 1e-3) == (changed is not as_it_is)
    assert torch.equal(drawn(demo["model"]), plain)


def test_prompts_in_areas_with_masks_and_for_a_time(pack: ModuleType, demo: dict[str, Any]) -> None:
    first, second, third, negative = prompts(6, 9, 3, 1)
    first[0][1]["area"] = (8, 12, 2, 2)
    second[0][1]["mask"] = torch.ones(1, 96, 128).tril()
    third[0][1] |= {"start_percent": 0.4, "end_percent": 0.8}
    conds = ([*first, *second, *third, *prompts(4)[0]], negative)
    found = drawn(demo["model"], *conds)
    assert relative_error(found, drawn(without_shortcuts(demo["model"]), *conds)) <= CLOSE


def test_a_batch_of_one_prompt_and_of_several(pack: ModuleType, demo: dict[str, Any]) -> None:
    latent = {"samples": torch.zeros(3, 4, 12, 16)}
    several = torch.randn(3, 7, 128, generator=torch.manual_seed(2))
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] + [0] * 6])
    for positive in (prompts(6)[0], [[several, {"attention_mask": mask}]]):
        conds = (positive, prompts(1)[0])
        found = drawn(demo["model"], *conds, latent=latent)
        plain = drawn(without_shortcuts(demo["model"]), *conds, latent=latent)
        assert relative_error(found, plain) <= CLOSE


def test_captions_are_projected_once_a_run(pack: ModuleType, demo: dict[str, Any]) -> None:
    runs: list[int] = []
    projection = demo["model"].model.diffusion_model.y_embedder.y_proj
    hook = projection.register_forward_hook(lambda *_: runs.append(1))
    for batch in (1, 2):
        drawn(demo["model"], latent={"samples": torch.zeros(batch, 4, 12, 16)})
    hook.remove()
    assert len(runs) == 2


def test_weights_that_are_read_are_given_back(
    pack: ModuleType, demo: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a card with dynamic memory could not let them go."""
    from comfy import ops

    held: list[Any] = []
    lent: list[Any] = []
    cast, uncast = ops.cast_bias_weight, ops.uncast_bias_weight

    def lend(layer: Any, *args: Any, **kwargs: Any) -> Any:
        held.append(layer)
        lent.append(layer)
        return cast(layer, *args, **kwargs)

    def take_back(layer: Any, *args: Any) -> None:
        held.remove(layer)
        uncast(layer, *args)

    monkeypatch.setattr(ops, "cast_bias_weight", lend)
    monkeypatch.setattr(ops, "uncast_bias_weight", take_back)
    drawn(demo["model"])
    blocks = demo["model"].model.diffusion_model.blocks
    assert {id(block.cross_attn.q_linear) for block in blocks} <= {id(layer) for layer in lent}
    assert held == []


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_gelu_in_one_call_takes_the_weights_as_they_act(
    pack: ModuleType, stored: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cast, and with what a LoRA adds while a model does not fit into memory."""
    from comfy import ops
    from pixart_pack.nodes.host.run import acting_weights
    from pixart_pack.pixart_core.network import gelu

    monkeypatch.setattr(gelu, "onednn_multiplies", lambda *_: True)
    generator = torch.Generator().manual_seed(0)
    layer = ops.manual_cast.Linear(48, 96, dtype=stored)
    for parameter in layer.parameters():
        parameter.requires_grad_(False).normal_(generator=generator)
    x, act = torch.randn(2, 5, 48, generator=generator), torch.nn.GELU(approximate="tanh")
    for function in (None, lambda weight: weight * 2):
        layer.weight_function = [function] if function else []
        with torch.no_grad():
            found = gelu.linear_gelu(x, layer, act, acting_weights)
        assert found is not None
        assert relative_error(found, act(layer(x))) <= 1e-6
    for other in (torch.nn.Linear(48, 96), ops.manual_cast.Linear(48, 96, bias=False)):
        with torch.no_grad():
            assert gelu.linear_gelu(x, other, act, acting_weights) is None


def test_a_run_computes_gelu_in_one_call_where_onednn_multiplies(
    pack: ModuleType, demo: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixart_pack.pixart_core.network import blocks, gelu

    found: list[bool] = []
    original = blocks.linear_gelu

    def noted(*args: Any) -> Tensor | None:
        out: Tensor | None = original(*args)
        found.append(out is not None)
        return out

    monkeypatch.setattr(blocks, "linear_gelu", noted)
    monkeypatch.setattr(gelu, "onednn_multiplies", lambda *_: True)
    drawn(demo["model"])
    assert found
    assert all(found)
    found.clear()
    drawn(without_shortcuts(demo["model"]))
    assert not found


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_after_a_run(
    pack: ModuleType, demo: dict[str, Any], fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixart_pack.nodes.host import run

    made: list[Any] = []

    class Watched(run.RunMemory):  # type: ignore[name-defined]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    def wrapper(apply: Callable[..., Tensor], given: dict[str, Any]) -> Tensor:
        out = apply(given["input"], given["timestep"], **given["c"])
        assert made[0]._networks
        if fails:
            raise KeyError("as a node that fails")
        return out

    monkeypatch.setattr(run, "RunMemory", Watched)
    model = demo["model"].clone()
    model.set_model_unet_function_wrapper(wrapper)
    if fails:
        with pytest.raises(KeyError):
            drawn(model)
    else:
        drawn(model)
    assert len(made) == 1
    assert not made[0]._networks
    for options in (model.model_options, demo["model"].model_options):
        assert run.MEMORY not in options.get("transformer_options", {})


def test_a_caption_that_a_node_changes_in_every_step(
    pack: ModuleType, demo: dict[str, Any]
) -> None:
    def wrapper(apply: Callable[..., Tensor], given: dict[str, Any]) -> Tensor:
        given["c"]["c_crossattn"] *= float(given["timestep"][0]) / 100
        return apply(given["input"], given["timestep"], **given["c"])

    model = demo["model"].clone()
    model.set_model_unet_function_wrapper(wrapper)
    found = drawn(model)
    assert relative_error(found, drawn(without_shortcuts(model))) <= CLOSE
    assert relative_error(found, drawn(demo["model"])) > 1e-3


def test_weights_that_hooks_change_from_step_to_step(
    pack: ModuleType, demo: dict[str, Any]
) -> None:
    from comfy import hooks

    generator = torch.Generator().manual_seed(0)
    lora = {
        f"diffusion_model.blocks.{index}.cross_attn.{layer}.lora_{side}.weight": 0.3
        * torch.randn(shape, generator=generator)
        for index in range(6)
        for layer, rows in (("q_linear", 216), ("kv_linear", 432), ("proj", 216))
        for side, shape in (("down", (2, 216)), ("up", (rows, 2)))
    }
    positive, negative = prompts()
    group = hooks.create_hook_lora(lora, 1.0, 0.0)
    keyframes = hooks.HookKeyframeGroup()
    for strength, start in ((0.0, 0.0), (1.0, 0.5)):
        keyframes.add(hooks.HookKeyframe(strength=strength, start_percent=start))
    group.set_keyframes_on_hooks(keyframes)
    positive[0][1]["hooks"] = group
    found = drawn(demo["model"], positive, negative)
    plain = drawn(without_shortcuts(demo["model"]), positive, negative)
    assert relative_error(found, plain) <= CLOSE
    assert relative_error(found, drawn(demo["model"])) > 1e-3


def test_a_compiled_model_is_compiled_once_for_all_prompts(
    pack: ModuleType, demo: dict[str, Any]
) -> None:
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from comfy_extras.nodes_torch_compile import skip_torch_compile_dict

    graphs: list[Any] = []

    def backend(graph: Any, *_: Any, **__: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    model = demo["model"].clone()
    options = {"guard_filter_fn": skip_torch_compile_dict}
    set_torch_compile_wrapper(model, backend, options=options, fullgraph=True)
    for lengths in ((6, 1), (9, 1), (2, 14)):
        conds = prompts(*lengths)
        found = drawn(model, *conds)
        assert relative_error(found, drawn(demo["model"], *conds)) <= CLOSE
    assert len(graphs) == 1
