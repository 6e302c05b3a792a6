"""Prompts in files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pixart_core.errors import ConditioningError
from pixart_core.text.saved import PromptNote, SavedPrompt, load_prompt, save_prompt
from pixart_core.writing import WritingError

NOTE = PromptNote("a cat\n«é»", "reference", "alpha", "t5xxl.safetensors", "int8")
META = {"format": "pixart-prompt-1", "tokens": "2,3"}


def prompt() -> SavedPrompt:
    """Return two rows of two and three tokens."""
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    return SavedPrompt(torch.randn(2, 3, 8), mask, NOTE)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    saved = prompt()
    save_prompt(tmp_path / "a.safetensors", saved)
    loaded = load_prompt(tmp_path / "a.safetensors")
    assert torch.equal(loaded.embedding, saved.embedding)
    assert torch.equal(loaded.mask, saved.mask)
    assert loaded.note == NOTE
    assert loaded.lengths == [2, 3]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    save_prompt(tmp_path / "a.safetensors", prompt())
    with pytest.raises(WritingError):
        save_prompt(tmp_path / "a.safetensors", prompt())


@pytest.mark.parametrize(
    ("embedding", "found"),
    [
        (torch.randn(1, 301, 8), "1 rows of 301 tokens"),
        (torch.full((1, 3, 8), torch.inf), "values that are not finite"),
        (torch.randn(3, 8), "tensors of the shapes"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(
    tmp_path: Path, embedding: torch.Tensor, found: str
) -> None:
    mask = torch.ones(embedding.shape[:2], dtype=torch.int64)
    with pytest.raises(ConditioningError, match=f"cannot be saved: found {found}"):
        save_prompt(tmp_path / "a.safetensors", SavedPrompt(embedding, mask, NOTE))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "metadata", "found"),
    [
        ({}, {}, "another kind"),
        ({}, {**META, "tokens": "3,3"}, "a mask that does not fit"),
        ({"mask": torch.full((2, 3), 2)}, META, "a mask that is none"),
        ({"mask": torch.zeros(2, 3, dtype=torch.int64)}, META, "a mask that is none"),
        ({"mask": torch.ones(2, 4, dtype=torch.int64)}, META, "tensors of the shapes"),
        ({"mask": torch.ones(2, 3)}, META, "numbers of type"),
        ({"embedding": torch.full((2, 3, 8), torch.nan)}, META, "not finite"),
        ({"embedding": torch.zeros(2, 3, 8, dtype=torch.int8)}, META, "numbers of type"),
        ({"embedding": torch.zeros(2, 3, 0)}, META, "tensors of the shapes"),
        ({"embedding": torch.zeros(1, 301, 8), "mask": torch.ones(1, 301)}, META, "301 tokens"),
        ({"other": torch.zeros(1)}, META, "tensors of the shapes"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, change: dict[str, torch.Tensor], metadata: dict[str, str], found: str
) -> None:
    path = tmp_path / "a.safetensors"
    save_prompt(path, prompt())
    save_file({**load_file(path), **change}, path, metadata)
    with pytest.raises(ConditioningError, match=found):
        load_prompt(path)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_damaged_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.safetensors"
    save_prompt(path, prompt())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ConditioningError, match="a damaged or missing file"):
        load_prompt(path)
    with pytest.raises(ConditioningError, match="a damaged or missing file"):
        load_prompt(tmp_path / "none.safetensors")
