"""fp32 by oneDNN: only where it is faster, and measured to be as exact; and never left set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pixart_core.network import matmul
from pixart_core.network.matmul import Measured, fast_matmul, measure, onednn_wins

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(matmul, "processor", lambda: "vendor_id : AuthenticAMD")
    torch.set_float32_matmul_precision("highest")
    onednn_wins.cache_clear()
    yield
    onednn_wins.cache_clear()
    torch.set_float32_matmul_precision("highest")


def measured(seconds: float, error: float = 5e-7) -> dict[str, Measured]:
    """Return findings in which oneDNN takes so long, and the default a second."""
    return {
        "plain": Measured(1.0, 2.5e-7),
        "onednn": Measured(seconds, error),
        "bf16": Measured(0.3, 2e-3),
    }


def test_what_is_measured_is_what_torch_does() -> None:
    found = measure()
    assert found["plain"].error < 1e-6
    assert 1e-4 < found["bf16"].error < 1e-2
    assert all(0 < one.seconds < 10 for one in found.values())
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(("error", "within"), [(5e-7, "medium"), (1e-3, "highest")])
def test_what_is_as_exact_is_set_and_put_back(
    monkeypatch: pytest.MonkeyPatch, error: float, within: str
) -> None:
    monkeypatch.setattr(matmul, "measure", lambda: measured(0.5, error))
    found: list[str] = []

    def failing() -> None:
        with fast_matmul(CPU, torch.float32):
            found.append(torch.get_float32_matmul_precision())
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert found == [within]
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(("maker", "wins"), [("AuthenticAMD", True), ("GenuineIntel", False)])
def test_the_processor_chooses_and_not_the_clock(
    monkeypatch: pytest.MonkeyPatch, maker: str, wins: bool
) -> None:
    monkeypatch.setattr(matmul, "processor", lambda: f"vendor_id : {maker}")
    for seconds in (0.5, 1.5):
        monkeypatch.setattr(matmul, "measure", lambda seconds=seconds: measured(seconds))
        onednn_wins.cache_clear()
        assert onednn_wins() is wins


def test_a_setting_of_somebody_else_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "measure", lambda: measured(0.5))
    torch.set_float32_matmul_precision("high")
    with fast_matmul(CPU, torch.float32):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == "high"


def test_other_precisions_and_cards_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "measure", lambda: pytest.fail("nothing to measure"))
    for device, dtype in ((CPU, torch.bfloat16), (torch.device("cuda"), torch.float32)):
        with fast_matmul(device, dtype):
            assert torch.get_float32_matmul_precision() == "highest"


def test_the_log_says_what_was_found_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(matmul, "measure", lambda: measured(0.6))
    with caplog.at_level("INFO", logger="pixart"):
        for _ in range(3):
            with fast_matmul(CPU, torch.float32):
                pass
    first, second = (record.getMessage() for record in caplog.records)
    assert "oneDNN takes 0.60 of the default's time" in first
    assert "it is used" in first
    assert "In bf16 this processor multiplies 2.0 times as fast" in second
