"""The host's folders of models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import folder_paths

from ...pixart_core.checkpoint.source import find_source, is_model_folder
from ...pixart_core.errors import CheckpointError

MODEL_FOLDERS = ("diffusion_models", "checkpoints")
TEXT_ENCODER_FOLDERS = ("text_encoders",)

_DEEPEST = 4
"""Folders within folders that are looked into."""


def model_names() -> list[str]:
    """List the files, and the diffusers folders, that may be PixArt models."""
    return list(dict.fromkeys([*_names(MODEL_FOLDERS), *_model_folders()]))


def find_model(name: str) -> Path:
    """Return the path of a listed model; raise CheckpointError where it is gone."""
    folder = _model_folders().get(name)
    return folder if folder is not None else find(MODEL_FOLDERS, name)


def model_fingerprint(name: str | None) -> str:
    """Return a text that changes when the model is replaced, empty where it is not known yet."""
    folder = _model_folders().get(name or "")
    if folder is None:
        return fingerprint(MODEL_FOLDERS, name)
    try:
        return " ".join(_status(file) for file in find_source(folder).files)
    except (CheckpointError, OSError):
        return ""


def text_encoder_names() -> list[str]:
    """List the files that may be T5 encoders."""
    return _names(TEXT_ENCODER_FOLDERS)


def find(folders: tuple[str, ...], name: str) -> Path:
    """Return the path of a listed file; raise CheckpointError where it is gone."""
    for folder in folders:
        path = folder_paths.get_full_path(folder, name)
        if path is not None:
            return Path(path)
    raise CheckpointError(
        f"{name} cannot be loaded",
        found="no such file",
        expected=f"a file of that name in the folder {' or '.join(folders)}",
        advice="Put it there, or refresh the list of files and choose another one.",
    )


def fingerprint(folders: tuple[str, ...], name: str | None) -> str:
    """Return a text that changes when the file is replaced, empty where it is not known yet."""
    if name is None:
        return ""
    try:
        return _status(find(folders, name))
    except (CheckpointError, OSError):
        return ""


def _status(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _model_folders() -> dict[str, Path]:
    """Return the diffusers folders below the host's model folders, by the name users see.

    A pipeline is listed, not also the transformer folder in it.
    """
    found: dict[str, Path] = {}
    roots = (Path(r) for folder in MODEL_FOLDERS for r in folder_paths.get_folder_paths(folder))
    for root in roots:
        if root.is_dir():
            for path in _folders_below(root, _DEEPEST):
                found.setdefault(path.relative_to(root).as_posix(), path)
    return found


def _folders_below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(e for e in folder.iterdir() if e.is_dir() and not e.name.startswith("."))
    except OSError:  # not ours to read, as lost+found
        return
    for entry in entries:
        if is_model_folder(entry):
            yield entry
        elif depth > 1:
            yield from _folders_below(entry, depth - 1)


def _names(folders: tuple[str, ...]) -> list[str]:
    listed = (name for folder in folders for name in folder_paths.get_filename_list(folder))
    return list(dict.fromkeys(listed))
