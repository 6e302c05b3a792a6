"""Encoded prompts in the host's output folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import folder_paths

from ...pixart_core.errors import ConditioningError
from ...pixart_core.text.saved import SUFFIX, PromptNote, SavedPrompt, load_prompt, save_prompt
from .caption import whole_mask
from .conditioning import MASK, PROMPT_NOTE, Noted
from .files import stamp_of
from .model import FAMILY, check_family, require_variant

_PLAIN = {MASK, PROMPT_NOTE, FAMILY, "pooled_output"}
"""What may stand beside an embedding without changing what it shows."""
_NAME = re.compile(r"[^\x00-\x1f<>:\"|?*\\]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows has for devices."""
_LONGEST_NAME = 200


@dataclass(frozen=True)
class LoadedPrompt:
    """A prompt from a file."""

    conditioning: Any
    text: str
    notice: str


def save(conditioning: Any, name: str) -> str:
    """Write a prompt under a free name beginning with ``name``; return that name.

    Raises ConditioningError for more than one prompt with areas and the like, which a file does
    not keep, and for a name that is none or leads out of the folder.
    """
    prompt = _prompt_of(conditioning)
    folder, stem = _place(name)
    # Some systems take names that differ in case alone for one.
    taken = {path.name.casefold() for path in folder.glob(f"*{SUFFIX}")}
    names = (f"{stem}_{number:05}{SUFFIX}" for number in range(1, len(taken) + 2))
    path = folder / next(name for name in names if name.casefold() not in taken)
    save_prompt(path, prompt)
    return path.relative_to(_root()).as_posix()


def names() -> list[str]:
    """List the saved prompts."""
    root = _root()
    found = (path.relative_to(root) for path in root.rglob(f"*{SUFFIX}"))
    # A save that was killed leaves a folder whose name begins with a dot.
    return sorted(p.as_posix() for p in found if not any(part[0] == "." for part in p.parts))


def fingerprint(name: str | None) -> str:
    """Return a text that changes when the file is replaced, empty where it is unknown."""
    return stamp_of(_root() / name) if name in names() else ""


def load(name: str, model: Any) -> LoadedPrompt:
    """Read a prompt; raise ConditioningError where it is none, or not for this model."""
    if name not in names():
        raise ConditioningError(
            f"{name} cannot be loaded",
            found="no such prompt",
            expected=f"a file in {_root()}",
            advice="Save the prompt first, or refresh the list and choose another one.",
        )
    prompt = load_prompt(_root() / name)
    if model is not None:
        _check_fits(prompt, model)
    extras = {
        "pooled_output": None,
        MASK: prompt.mask,
        FAMILY: prompt.note.family,
        PROMPT_NOTE: Noted(prompt.note, prompt.embedding),
    }
    lengths = ", ".join(map(str, prompt.lengths))
    notice = "\n".join(
        filter(None, [prompt.note.text, f"{lengths} tokens, {_origin(prompt.note)}"])
    )
    return LoadedPrompt([[prompt.embedding, extras]], prompt.note.text, notice)


def _prompt_of(conditioning: Any) -> SavedPrompt:
    extra = sorted({key for _, extras in conditioning for key in extras} - _PLAIN)
    if len(conditioning) != 1 or extra:
        raise ConditioningError(
            "This conditioning cannot be saved as a prompt",
            found=(f"{len(conditioning)} entries" if len(conditioning) != 1 else "an entry")
            + (f" with {', '.join(extra)}" if extra else ""),
            expected="one prompt, or one batch of prompts",
            advice="Save each prompt by itself, before areas, masks or times are set.",
        )
    ((embedding, extras),) = conditioning
    noted = extras.get(PROMPT_NOTE, Noted(PromptNote(), None))
    note = noted.note
    if noted.embedding is not embedding:
        # Another node has made a new one from it; whose text it is cannot be said.
        note = PromptNote(family=note.family)
    return SavedPrompt(embedding, whole_mask(embedding, extras.get(MASK)), note)


def _check_fits(prompt: SavedPrompt, model: Any) -> None:
    variant = require_variant(model)
    width = model.model.diffusion_model.config.caption_channels
    if width != prompt.embedding.shape[-1]:
        raise ConditioningError(
            "The saved prompt does not fit this model",
            found=f"embeddings {prompt.embedding.shape[-1]} wide",
            expected=f"{width} wide",
            advice="Encode the prompt with the T5 that belongs to the model, and save it again.",
        )
    check_family(prompt.note.family, variant)


def _origin(note: PromptNote) -> str:
    return f"for {note.family or 'any family'}, from {note.t5 or 'an unknown T5'}"


def _root() -> Path:
    return Path(folder_paths.get_output_directory()) / "prompts"


def _place(name: str) -> tuple[Path, str]:
    """Return folder and beginning of a file's name; raise ConditioningError for a bad one."""
    parts = name.strip().replace("\\", "/").removesuffix(SUFFIX).split("/")
    good = all(
        _NAME.fullmatch(part)
        and part.isprintable()
        and part.strip(". ")
        and not _RESERVED.fullmatch(part)
        for part in parts
    )
    folder = _root().joinpath(*parts[:-1])
    if good and len(name) <= _LONGEST_NAME and folder.resolve().is_relative_to(_root().resolve()):
        return folder, parts[-1]
    raise ConditioningError(
        "The prompt was not saved",
        found=f"the name {name[:80]!r} of {len(name)} letters",
        expected=f"a file name, or folders and a file name with / between them, of at most "
        f"{_LONGEST_NAME} letters",
        advice="Choose a plain name such as prompt or cats/white.",
    )
