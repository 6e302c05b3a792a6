"""What is kept of the golden latents, and of whose digests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from devtools import golden

FIRST, SECOND = torch.ones(1, 4, 2, 2), torch.full((1, 4, 2, 2), 2.0)
A_LITTLE = 1 + 1e-6


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines have drawn two latents, a third none."""
    monkeypatch.setattr(golden, "GOLDEN", tmp_path)
    for name in ("this", "other"):
        monkeypatch.setattr(golden, "machine", lambda name=name: name)
        golden.keep({"first": FIRST, "second": SECOND})
    monkeypatch.setattr(golden, "machine", lambda: "this")


def cases_by_machine(folder: Path) -> dict[str, set[str]]:
    found = json.loads((folder / "digests.json").read_text())
    return {machine: set(digests) for machine, digests in found.items()}


def test_digests_of_other_machines_stay_where_nothing_changed(tmp_path: Path) -> None:
    golden.keep({"first": FIRST, "second": SECOND})
    assert cases_by_machine(tmp_path) == {name: {"first", "second"} for name in ("this", "other")}


def test_they_go_where_the_arithmetic_changed(tmp_path: Path) -> None:
    golden.keep({"first": FIRST * A_LITTLE, "second": SECOND})
    assert cases_by_machine(tmp_path) == {"this": {"first", "second"}, "other": {"second"}}
    assert torch.equal(golden.kept_latents()["first"], FIRST)
    golden.keep({"first": FIRST * A_LITTLE, "second": SECOND * A_LITTLE})
    assert cases_by_machine(tmp_path) == {"this": {"first", "second"}}


def test_they_go_where_a_latent_changed(tmp_path: Path) -> None:
    golden.keep({"first": FIRST * 2, "second": SECOND})
    assert cases_by_machine(tmp_path)["other"] == {"second"}
    assert torch.equal(golden.kept_latents()["first"], FIRST * 2)


def test_a_machine_that_is_new_changes_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "machine", lambda: "new")
    golden.keep({"first": FIRST * A_LITTLE, "second": SECOND})
    assert cases_by_machine(tmp_path) == {
        name: {"first", "second"} for name in ("this", "other", "new")
    }
