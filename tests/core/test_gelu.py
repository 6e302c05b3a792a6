"""A linear layer and its GELU in one call are the two layers, and give way to other nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from devtools.reference import relative_error
from pixart_core.network import gelu, matmul
from pixart_core.network.acting_weights import Weights, WeightsOf, plain_weights
from pixart_core.network.gelu import linear_gelu
from pixart_core.network.matmul import has_bf16_units, onednn_multiplies
from pixart_core.network.run_memory import RunMemory

from .test_run_memory import FAMILY, guided, model_of

ACT = nn.GELU(approximate="tanh")
X = torch.randn(2, 60, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(48, 96).requires_grad_(False)


@pytest.fixture
def onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where torch gives every product to oneDNN."""
    monkeypatch.setattr(gelu, "onednn_multiplies", lambda *_: True)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def fused(x: Tensor, layer: nn.Module, act: nn.Module = ACT) -> Tensor | None:
    return linear_gelu(x, layer, act, plain_weights)


@pytest.mark.parametrize("approximate", ["tanh", "none"])
def test_in_fp32_it_is_as_exact(layer: nn.Linear, onednn: None, approximate: str) -> None:
    act = nn.GELU(approximate)
    found = fused(X, layer, act)
    assert found is not None
    assert relative_error(found, act(layer.double()(X.double()))) <= 1e-6


def test_in_bf16_it_is_more_exact(layer: nn.Linear) -> None:
    x, layer = X.bfloat16(), layer.bfloat16()
    found, apart = fused(x, layer), ACT(layer(x))
    assert (found is not None) == onednn_multiplies(x.device, x.dtype) == has_bf16_units()
    exact = ACT(layer.double()(x.double()))
    if found is not None:
        assert relative_error(found, exact) < relative_error(apart, exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_it_is_not_done_where_something_else_multiplies(
    layer: nn.Linear, dtype: torch.dtype
) -> None:
    assert fused(X.to(dtype), layer.to(dtype)) is None


def test_it_is_not_done_where_onednn_is_off_or_there_are_no_units(
    layer: nn.Linear, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, layer = X.bfloat16(), layer.bfloat16()
    with monkeypatch.context() as without:
        without.setattr(matmul, "has_bf16_units", lambda: False)
        assert fused(x, layer) is None
    with torch.backends.mkldnn.flags(enabled=False):
        assert fused(x, layer) is None


def test_it_gives_way_to_gradients(layer: nn.Linear, onednn: None) -> None:
    with torch.enable_grad():
        assert fused(X, layer) is None


def lending(weights: Weights | None) -> WeightsOf:
    return lambda *_: nullcontext(weights)


def test_it_gives_way_to_weights_of_other_kinds(layer: nn.Linear, onednn: None) -> None:
    class Quantised(Tensor):
        pass

    weight, bias = layer.weight.data, layer.bias.data
    turned = weight.T.contiguous().T
    for other in (weight.as_subclass(Quantised), weight.half(), turned):
        assert linear_gelu(X, layer, ACT, lending((other, bias))) is None
    assert linear_gelu(X, layer, ACT, lending(None)) is None
    assert linear_gelu(X, layer, ACT, lending((weight, bias))) is not None


def test_it_gives_way_to_what_others_do_to_a_layer_or_its_activation(
    layer: nn.Linear, onednn: None
) -> None:
    act = nn.GELU(approximate="tanh")
    for module in (layer, act):
        hook = module.register_forward_hook(lambda *_: None)
        assert fused(X, layer, act) is None
        hook.remove()
        assert fused(X, layer, act) is not None
    assert fused(X, layer, nn.SiLU()) is None


def test_changed_weights_act_at_once(layer: nn.Linear, onednn: None) -> None:
    first = fused(X, layer)
    layer.weight.data *= 2
    second = fused(X, layer)
    assert first is not None
    assert second is not None
    assert relative_error(second, ACT(layer(X))) <= 1e-6
    assert relative_error(first, second) > 0.1


@pytest.mark.parametrize("place", ["mlp", "mlp.act", "mlp.fc1"])
def test_what_others_put_into_a_block_acts(onednn: None, place: str) -> None:
    """A call of one argument, as it always was."""
    model, given = model_of(), guided(FAMILY, [9, 1])
    for block in model.blocks:
        module = block.get_submodule(place)
        module.forward = lambda x, forward=module.forward: forward(x) / 2  # type: ignore[assignment]
    wanted = model(**given)
    assert relative_error(model(**given, memory=RunMemory()), wanted) <= 2e-6
