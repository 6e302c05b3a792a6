"""A linear layer and its GELU in one call are the two layers, and give way to other nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from devtools.reference import relative_error
from pixart_core.network import gelu
from pixart_core.network.gelu import linear_gelu
from pixart_core.network.kept_caption import plain_weights

X = torch.randn(2, 60, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(48, 96).requires_grad_(False)


@pytest.fixture
def onednn() -> Iterator[None]:
    """Products of fp32 by oneDNN, as while our model runs on some processors."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def bf16_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gelu, "has_bf16_units", lambda: True)


def two_layers(x: Tensor, layer: nn.Linear) -> Tensor:
    return functional.gelu(layer(x), approximate="tanh")


def test_in_fp32_it_is_as_exact(layer: nn.Linear, onednn: None) -> None:
    found = linear_gelu(X, layer, plain_weights)
    assert found is not None
    assert relative_error(found, two_layers(X.double(), layer.double())) <= 1e-6


def test_in_bf16_it_is_more_exact(layer: nn.Linear, bf16_units: None) -> None:
    x, layer = X.bfloat16(), layer.bfloat16()
    found, apart = linear_gelu(x, layer, plain_weights), two_layers(x, layer)
    assert found is not None
    exact = two_layers(x.double(), layer.double())
    assert relative_error(found, exact) < relative_error(apart, exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_it_is_not_done_where_something_else_multiplies(
    layer: nn.Linear, dtype: torch.dtype
) -> None:
    assert linear_gelu(X.to(dtype), layer.to(dtype), plain_weights) is None


def test_it_is_not_done_in_bf16_without_units(
    layer: nn.Linear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gelu, "has_bf16_units", lambda: False)
    assert linear_gelu(X.bfloat16(), layer.bfloat16(), plain_weights) is None


def test_it_gives_way_to_hooks_and_to_weights_of_other_kinds(
    layer: nn.Linear, onednn: None
) -> None:
    class Quantised(Tensor):
        pass

    other = layer.weight.data.as_subclass(Quantised)
    for found in (None, (other, layer.bias), (layer.weight.half(), layer.bias)):
        assert linear_gelu(X, layer, lambda *_, found=found: found) is None  # type: ignore[misc]
    hook = layer.register_forward_hook(lambda *_: None)
    assert linear_gelu(X, layer, plain_weights) is None
    hook.remove()
    assert linear_gelu(X, layer, plain_weights) is not None


def test_changed_weights_act_at_once(layer: nn.Linear, onednn: None) -> None:
    first = linear_gelu(X, layer, plain_weights)
    layer.weight.data *= 2
    second = linear_gelu(X, layer, plain_weights)
    assert first is not None
    assert second is not None
    assert relative_error(second, two_layers(X, layer)) <= 1e-6
    assert relative_error(first, second) > 0.1
