"""Which attention runs, and what bf16 does on a processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from devtools.reference import relative_error

from .conftest import DEMO
from .test_run_memory import drawn, prompts


def noting(attention: Callable[..., Tensor], said: str, calls: list[str]) -> Callable[..., Tensor]:
    def noted(*args: Any, **kwargs: Any) -> Tensor:
        calls.append(said)
        return attention(*args, **kwargs)

    return noted


@pytest.fixture
def attended(pack: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose attention was called: "torch's", "sliced" or "host's"."""
    from comfy.ldm.modules import attention
    from pixart_pack.nodes.host import kernels

    calls: list[str] = []
    for module, name, said in (
        (kernels, "torch_attention", "torch's"),
        (kernels, "sliced_attention", "sliced"),
        (attention, "optimized_attention", "host's"),
    ):
        original = getattr(module, name)

        def counted(
            *args: Any, said: str = said, original: Any = original, **kwargs: Any
        ) -> Tensor:
            calls.append(said)
            out: Tensor = original(*args, **kwargs)
            return out

        monkeypatch.setattr(module, name, counted)
    monkeypatch.setattr(kernels, "_is_default", lambda: True)
    return calls


@pytest.mark.parametrize(
    ("dtype", "units", "whose"),
    [("fp32", True, "torch's"), ("bf16", True, "sliced"), ("bf16", False, "torch's")],
)
def test_the_faster_attention_of_a_processor_runs(
    pack: ModuleType,
    attended: list[str],
    dtype: str,
    units: bool,
    whose: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pixart_pack.nodes.host import kernels, loading

    monkeypatch.setattr(loading, "has_bf16_units", lambda: units)
    monkeypatch.setattr(kernels, "onednn_multiplies", lambda *_: units)
    drawn(loading.load_model(DEMO["diffusion_models"], "auto", dtype).patcher)
    assert set(attended) == {whose}


@pytest.mark.parametrize("units", [True, False])
@pytest.mark.parametrize("masks", [True, False])
def test_slices_take_bf16_without_a_mask(
    pack: ModuleType, attended: list[str], masks: bool, units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixart_pack.nodes.host import kernels

    monkeypatch.setattr(kernels, "onednn_multiplies", lambda *_: units)
    q, k, v = torch.randn(3, 2, 9, 144, generator=torch.manual_seed(0)).bfloat16()
    mask = torch.zeros(2, 1, 9, 9).bfloat16()
    mask[1, ..., 4:] = -10000
    found = kernels.host_attention(q, k, v, 2, mask if masks else None)
    assert attended == ["sliced" if units and not masks else "host's"]
    exact = kernels.torch_attention(
        *(q.double(), k.double(), v.double(), 2), mask.double() if masks else None
    )
    assert relative_error(found, exact) < 0.01


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_slices_are_for_bf16_alone(
    pack: ModuleType, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixart_pack.nodes.host import kernels

    monkeypatch.setattr(kernels, "onednn_multiplies", lambda *_: True)
    assert not kernels.takes_slices(torch.zeros(1, 4, 72, dtype=dtype))


@pytest.mark.parametrize(
    "flag",
    ["use_split_cross_attention", "use_quad_cross_attention", "use_pytorch_cross_attention"],
)
def test_an_attention_that_the_user_chose_runs(
    pack: ModuleType, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy.cli_args import args
    from pixart_pack.nodes.host import kernels

    monkeypatch.setattr(kernels, "onednn_multiplies", lambda *_: True)
    q = torch.zeros(1, 4, 72)
    assert kernels.takes_torchs(q)
    assert kernels.takes_slices(q.bfloat16())
    monkeypatch.setattr(args, flag, True)
    assert kernels.takes_torchs(q) == (flag == "use_pytorch_cross_attention")
    assert not kernels.takes_slices(q.bfloat16())


@pytest.mark.parametrize("units", [True, False])
def test_bf16_that_was_chosen_is_computed_in_where_the_processor_has_units_for_it(
    pack: ModuleType, demo: dict[str, Any], units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixart_pack.nodes.host import loading

    monkeypatch.setattr(loading, "has_bf16_units", lambda: units)
    path: Path = DEMO["diffusion_models"]
    chosen = loading.load_model(path, "auto", "bf16").patcher
    assert chosen.model.get_dtype_inference() == (torch.bfloat16 if units else torch.float32)
    assert loading.load_model(path, "auto", "auto").patcher.model.get_dtype_inference() == (
        torch.float32
    )
    generator = torch.Generator().manual_seed(1)
    x, caption = torch.randn(1, 4, 12, 16, generator=generator), prompts()[0][0][0]
    with torch.inference_mode():
        found, wanted = (
            x - patcher.model.apply_model(x, torch.tensor([2.0]), c_crossattn=caption)
            for patcher in (chosen, demo["model"])
        )
    assert relative_error(found, wanted) < 0.02
