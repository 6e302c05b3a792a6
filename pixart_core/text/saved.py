"""Prompts that were encoded, kept in a file, so that pictures need no T5."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import ConditioningError
from ..variants import LONGEST_PROMPT
from ..writing import written

SUFFIX = ".safetensors"
_FORMAT = "pixart-prompt-1"
_EMBEDDING, _MASK = "embedding", "mask"
_MOST_ROWS = 4096
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class PromptNote:
    """What is known of an encoded prompt; empty where it is not."""

    text: str = ""
    cleaning: str = ""
    family: str = ""
    """That of the model it was encoded for."""
    t5: str = ""
    """Name of the T5 file."""
    precision: str = ""


@dataclass(frozen=True)
class SavedPrompt:
    """An encoded prompt: ``embedding`` (rows, tokens, channels) and its ``mask`` (rows, tokens).

    The mask is int64, 1 for each real token.
    """

    embedding: Tensor
    mask: Tensor
    note: PromptNote

    @property
    def lengths(self) -> list[int]:
        """How many tokens each row has."""
        return [int(count) for count in self.mask.sum(1)]


def save_prompt(path: Path, prompt: SavedPrompt) -> None:
    """Write the prompt wholly or not at all; raise WritingError where it cannot be."""
    tensors = {
        _EMBEDDING: prompt.embedding.detach().cpu().contiguous(),
        _MASK: prompt.mask.cpu().contiguous(),
    }
    metadata = {
        "format": _FORMAT,
        "tokens": ",".join(map(str, prompt.lengths)),
        **dataclasses.asdict(prompt.note),
    }
    with written(path) as draft:
        save_file(tensors, draft, metadata)


def load_prompt(path: Path) -> SavedPrompt:
    """Read a prompt; raise ConditioningError for a file that is damaged or holds no prompt."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise _unusable(path, "a file of another kind")
            _check_sizes(path, {key: file.get_slice(key) for key in file.keys()})  # noqa: SIM118
            embedding, mask = file.get_tensor(_EMBEDDING), file.get_tensor(_MASK)
    except (OSError, SafetensorError) as error:
        raise _unusable(path, f"a damaged or missing file ({error})") from error
    known = {field.name for field in dataclasses.fields(PromptNote)}
    note = PromptNote(**{key: metadata[key] for key in known & metadata.keys()})
    prompt = SavedPrompt(embedding, mask, note)
    _check(path, prompt, metadata.get("tokens", ""))
    return prompt


def _check_sizes(path: Path, slices: dict[str, object]) -> None:
    """Check shapes in the header, before anything of the size they claim is read."""
    shapes = {key: tuple(part.get_shape()) for key, part in slices.items()}  # type: ignore[attr-defined]
    embedding, mask = shapes.get(_EMBEDDING, ()), shapes.get(_MASK, ())
    if len(embedding) != 3 or mask != embedding[:2] or len(shapes) != 2 or 0 in embedding:
        raise _unusable(path, f"tensors of the shapes {shapes}")
    if embedding[0] > _MOST_ROWS or embedding[1] > LONGEST_PROMPT:
        raise _unusable(path, f"{embedding[0]} rows of {embedding[1]} tokens")


def _check(path: Path, prompt: SavedPrompt, tokens: str) -> None:
    if prompt.embedding.dtype not in _DTYPES or prompt.mask.dtype != torch.int64:
        raise _unusable(path, f"numbers of type {prompt.embedding.dtype} and {prompt.mask.dtype}")
    if not torch.isfinite(prompt.embedding).all():
        raise _unusable(path, "values that are not finite")
    is_mask = bool(((prompt.mask == 0) | (prompt.mask == 1)).all())
    if not is_mask or min(prompt.lengths) < 1 or ",".join(map(str, prompt.lengths)) != tokens:
        raise _unusable(path, "a mask that does not fit the number of tokens it states")


def _unusable(path: Path, found: str) -> ConditioningError:
    return ConditioningError(
        f"{path.name} cannot be used as a prompt",
        found=found,
        expected="a file from Save PixArt Prompt",
        advice="Encode the prompt again and save it.",
    )
