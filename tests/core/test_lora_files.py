"""What a LoRA's tensors and settings may be, before anything is computed with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pixart_core.errors import CheckpointError
from pixart_core.lora.adapters import alpha_of, host_parts
from pixart_core.lora.fitting import check_fit
from pixart_core.lora.reading import Adapter
from pixart_core.lora.settings import PEFT_ALPHA, LoraSettings, read_settings
from pixart_core.lora.targets import Target

LINEAR, CONVOLUTION = Target("a.weight", (6, 4)), Target("b.weight", (6, 4, 2, 2))


def ones(*shape: int) -> Tensor:
    return torch.ones(shape)


def lora(rank: int, **others: Tensor) -> dict[str, Tensor]:
    return {"up": ones(6, rank), "down": ones(rank, 4), **others}


GOOD = {
    "LoRA": (LINEAR, lora(2)),
    "rows of a DoRA": (LINEAR, lora(2, magnitude=ones(6))),
    "columns of a DoRA": (LINEAR, lora(2, magnitude=ones(1, 4))),
    "a column of a DoRA": (LINEAR, lora(2, magnitude=ones(6, 1))),
    "a core": (
        CONVOLUTION,
        {"up": ones(6, 2, 1, 1), "mid": ones(2, 2, 2, 2), "down": ones(2, 4, 1, 1)},
    ),
    "LyCORIS' core": (
        CONVOLUTION,
        {
            **{f"hada_w{i}_a": ones(2, 6) for i in (1, 2)},
            **{f"hada_w{i}_b": ones(2, 4) for i in (1, 2)},
            **{f"hada_t{i}": ones(2, 2, 2, 2) for i in (1, 2)},
        },
    ),
    "blocks": (LINEAR, {"oft_blocks": ones(3, 2, 2)}),
    "a difference": (LINEAR, {"diff": ones(6, 4), "bias": ones(6)}),
}
BAD = {
    "rank 0": (LINEAR, lora(0)),
    "another size": (LINEAR, {"up": ones(5, 2), "down": ones(2, 4)}),
    "ranks that differ": (LINEAR, {"up": ones(6, 3), "down": ones(2, 4)}),
    "one number": (LINEAR, {"up": torch.tensor(1.0), "down": ones(2, 4)}),
    "another number": (LINEAR, {"up": ones(6, 2), "down": torch.tensor(1.0)}),
    "a long magnitude": (LINEAR, lora(2, magnitude=ones(7))),
    "rows in a row": (LINEAR, lora(2, magnitude=ones(1, 6))),
    "a flat core": (
        CONVOLUTION,
        {"up": ones(6, 2, 1, 1), "mid": ones(2, 2, 2), "down": ones(2, 4, 1, 1)},
    ),
    "a core of another rank": (
        CONVOLUTION,
        {"up": ones(6, 2, 1, 1), "mid": ones(3, 2, 2, 2), "down": ones(2, 4, 1, 1)},
    ),
    "a wide core": (
        CONVOLUTION,
        {"up": ones(6, 2, 1, 1), "mid": ones(2, 2, 3, 3), "down": ones(2, 4, 1, 1)},
    ),
    "half a LoKr": (LINEAR, {"lokr_w1": ones(2, 2), "lokr_t2": ones(1, 1, 1, 1)}),
    "oblong blocks": (LINEAR, {"oft_blocks": ones(3, 2, 3)}),
    "a short bias": (LINEAR, {"bias": ones(5)}),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_fits_is_taken(name: str) -> None:
    target, parts = GOOD[name]
    check_fit(Adapter("blocks.0", target, parts))


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused(name: str) -> None:
    target, parts = BAD[name]
    with pytest.raises(
        CheckpointError, match=r"does not fit blocks\.0: found .*, expected a change"
    ):
        check_fit(Adapter("blocks.0", target, parts))


@pytest.mark.parametrize("numbers", [torch.tensor(1.0), ones(2, 7), ones(3, 1), ones(2, 1) * 3e30])
def test_rotations_that_cannot_be_computed_are_refused(numbers: Tensor) -> None:
    adapter = Adapter("blocks.0", LINEAR, {"oft_r": numbers})
    settings = LoraSettings()
    with pytest.raises(CheckpointError, match=r"OFT adapter does not fit blocks\.0"):
        host_parts(adapter, alpha_of(adapter, settings, 0.0), settings, lambda _: ones(6, 4))


def test_an_alpha_without_a_number_is_none() -> None:
    adapter = Adapter("blocks.0", LINEAR, lora(2, alpha=ones(0)))
    assert alpha_of(adapter, LoraSettings(), 0.0).value == PEFT_ALPHA


def settings_of(folder: Path, content: bytes) -> LoraSettings:
    save_file({"a": ones(1)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_bytes(content)
    return read_settings(folder / "adapter_model.safetensors")


@pytest.mark.parametrize("alpha", ["NaN", "Infinity", "-1e999", "true", '"8"', "1" + "0" * 400])
def test_what_is_no_finite_number_is_no_alpha(alpha: str, tmp_path: Path) -> None:
    found = settings_of(tmp_path, f'{{"lora_alpha": {alpha}, "r": 4}}'.encode())
    assert found == LoraSettings(rank=4, source="adapter_config.json")


def test_a_mark_of_byte_order_is_passed_over(tmp_path: Path) -> None:
    content = json.dumps({"lora_alpha": 6, "r": 4}).encode("utf-8-sig")
    assert settings_of(tmp_path, content).alpha == 6


@pytest.mark.parametrize("content", [b"", b"[1]", b"{'a': 1}", b"\xff\xfe{", b" " * 1_000_001])
def test_settings_that_cannot_be_read_are_named(content: bytes, tmp_path: Path) -> None:
    assert settings_of(tmp_path, content) == LoraSettings(unread="adapter_config.json")
    (tmp_path / "adapter_config.json").unlink()
    assert read_settings(tmp_path / "adapter_model.safetensors") == LoraSettings()


def test_a_series_without_end_is_its_formula(tmp_path: Path) -> None:
    for terms, kept in ((7, 7), (10**9, None)):
        found = settings_of(tmp_path, json.dumps({"num_cayley_neumann_terms": terms}).encode())
        assert found.neumann_terms == kept
