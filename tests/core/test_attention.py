"""Attention slice by slice is attention."""

from __future__ import annotations

import pytest
import torch

from devtools.reference import relative_error
from pixart_core.network import attention
from pixart_core.network.attention import sliced_attention, torch_attention

HEADS, WIDTH = 4, 288


@pytest.mark.parametrize("most", [1, 50, 1000, 2**21], ids=lambda most: f"{most} scores")
@pytest.mark.parametrize(("tokens", "keys"), [(60, 60), (61, 15), (1, 7)])
@pytest.mark.parametrize("batch", [1, 3])
def test_slices_are_the_whole(
    batch: int, tokens: int, keys: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_MOST_SCORES", most)
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(batch, tokens, WIDTH, generator=generator)
    k, v = torch.randn(batch, keys, 2 * WIDTH, generator=generator).chunk(2, dim=-1)
    found = sliced_attention(q, k, v, HEADS)
    assert found.shape == q.shape
    assert relative_error(found, torch_attention(q, k, v, HEADS)) <= 1e-6


def test_in_bf16_it_is_within_its_roundings() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(2, 300, 3 * WIDTH, generator=generator).bfloat16().chunk(3, dim=-1)
    exact = torch_attention(q.double(), k.double(), v.double(), HEADS)
    found = sliced_attention(q, k, v, HEADS)
    assert found.dtype == torch.bfloat16
    assert relative_error(found, exact) <= 2**-7


@pytest.mark.parametrize(("tokens", "keys"), [(0, 5), (5, 0)])
def test_nothing_to_attend_from_or_to_is_no_error(tokens: int, keys: int) -> None:
    q, k, v = (torch.zeros(1, length, WIDTH) for length in (tokens, keys, keys))
    assert sliced_attention(q, k, v, HEADS).shape == (1, tokens, WIDTH)
