"""Prompts that were encoded, kept in a file, so that pictures need no T5."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
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
    """Write the prompt wholly or not at all.

    Raises WritingError where it cannot be, ConditioningError for one that could not be loaded.
    """
    fault = _fault_of_shapes({_EMBEDDING: prompt.embedding.shape, _MASK: prompt.mask.shape})
    fault = fault or _fault_of_values(prompt)
    if fault:
        raise ConditioningError(
            "The prompt cannot be saved",
            found=fault,
            expected=f"finite embeddings of 1 to {LONGEST_PROMPT} tokens, as T5 makes them",
            advice="Save prompts as they come from PixArt Prompt, and put them together later.",
        )
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
            slices = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
            # Before anything of the size that the header claims is read.
            _refuse(path, _fault_of_shapes(slices))
            embedding, mask = file.get_tensor(_EMBEDDING), file.get_tensor(_MASK)
    except (OSError, SafetensorError) as error:
        raise _unusable(path, f"a damaged or missing file ({error})") from error
    known = {field.name for field in dataclasses.fields(PromptNote)}
    note = PromptNote(**{key: metadata[key] for key in known & metadata.keys()})
    prompt = SavedPrompt(embedding, mask, note)
    _refuse(path, _fault_of_values(prompt))
    if ",".join(map(str, prompt.lengths)) != metadata.get("tokens"):
        raise _unusable(path, "a mask that does not fit the number of tokens it states")
    return prompt


def _fault_of_shapes(shapes: Mapping[str, Sequence[int]]) -> str:
    """Return what is wrong with the shapes of embedding and mask; nothing if they are right."""
    embedding, mask = (tuple(shapes.get(key, ())) for key in (_EMBEDDING, _MASK))
    if len(embedding) != 3 or mask != embedding[:2] or len(shapes) != 2 or 0 in embedding:
        return f"tensors of the shapes {dict(shapes)}"
    if embedding[0] > _MOST_ROWS or embedding[1] > LONGEST_PROMPT:
        return f"{embedding[0]} rows of {embedding[1]} tokens"
    return ""


def _fault_of_values(prompt: SavedPrompt) -> str:
    if prompt.embedding.dtype not in _DTYPES or prompt.mask.dtype != torch.int64:
        return f"numbers of type {prompt.embedding.dtype} and {prompt.mask.dtype}"
    if not torch.isfinite(prompt.embedding).all():
        return "values that are not finite"
    is_mask = bool(((prompt.mask == 0) | (prompt.mask == 1)).all())
    return "" if is_mask and min(prompt.lengths) > 0 else "a mask that is none"


def _refuse(path: Path, fault: str) -> None:
    if fault:
        raise _unusable(path, fault)


def _unusable(path: Path, found: str) -> ConditioningError:
    return ConditioningError(
        f"{path.name} cannot be used as a prompt",
        found=found,
        expected="a file from Save PixArt Prompt",
        advice="Encode the prompt again and save it.",
    )
