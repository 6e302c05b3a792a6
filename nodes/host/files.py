"""The host's folders of models."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ...pixart_core.errors import CheckpointError

MODEL_FOLDERS = ("diffusion_models", "checkpoints")
TEXT_ENCODER_FOLDERS = ("text_encoders",)


def model_names() -> list[str]:
    """List the files that may be PixArt models."""
    return _names(MODEL_FOLDERS)


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
        status = find(folders, name).stat()
    except (CheckpointError, FileNotFoundError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _names(folders: tuple[str, ...]) -> list[str]:
    listed = (name for folder in folders for name in folder_paths.get_filename_list(folder))
    return list(dict.fromkeys(listed))
