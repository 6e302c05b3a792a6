"""Which files a model consists of: one file, or a folder as diffusers writes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError

SAFETENSORS = (".safetensors", ".sft")
_WEIGHTS = "diffusion_pytorch_model"
_ENDINGS = (".safetensors", ".bin", ".json")
_SUBFOLDER = "transformer"

NULL_CAPTION_FILE = "pixart_null_caption.safetensors"
"""Beside a converted model: the learned null caption, for which diffusers has no place."""


@dataclass(frozen=True)
class Source:
    """A model's files, and the folder whose configurations belong to it, if it has one."""

    files: tuple[Path, ...]
    folder: Path | None
    """Where ``config.json`` lies."""
    name: str
    """What users know the model by."""

    @property
    def words(self) -> str:
        """The name with that of the folder around it, which may tell what the name does not."""
        first = self.files[0]
        return f"{_pipeline_of(first.parent).name}/{self.name}"


def find_source(path: Path) -> Source:
    """Return the files of a model file or folder.

    A folder is a diffusers pipeline, with a folder ``transformer``, or that folder itself. Full
    precision is preferred where both are there. Raises CheckpointError where there is no such
    file, or no transformer in the folder.
    """
    if path.is_dir():
        return _folder_source(path)
    if not path.is_file():
        raise CheckpointError(
            f"{path.name} cannot be read",
            found="no such file",
            expected=f"a file or folder at {path}",
            advice="Put it there, or refresh the list of files and choose another one.",
        )
    if path.stem.startswith(_WEIGHTS):
        return Source((path,), path.parent, f"{_pipeline_of(path.parent).name}/{path.name}")
    return Source(
        (path,), path.parent if (path.parent / "config.json").is_file() else None, path.name
    )


def is_model_folder(path: Path) -> bool:
    """Whether a folder holds a diffusers transformer, by the names of its files alone."""
    return any(_holds_weights(folder) for folder in (path / _SUBFOLDER, path))


def _holds_weights(folder: Path) -> bool:
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:  # no such folder, or not ours to read
        return False
    return any(name.startswith(_WEIGHTS) and name.endswith(_ENDINGS) for name in names)


def _folder_source(path: Path) -> Source:
    for folder in (path / _SUBFOLDER, path):
        files = _weights_in(folder)
        if files:
            extra = folder / NULL_CAPTION_FILE
            files = (*files, extra) if extra.is_file() else files
            return Source(files, folder, _pipeline_of(path).name)
    raise CheckpointError(
        f"The folder {path.name} cannot be loaded as a PixArt model",
        found=", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing in it",
        expected=f"{_SUBFOLDER}/{_WEIGHTS}.safetensors, or that file itself",
        advice="Choose the folder of a diffusers pipeline, or its transformer folder.",
    )


def _pipeline_of(folder: Path) -> Path:
    return folder.parent if folder.name == _SUBFOLDER else folder


def _weights_in(folder: Path) -> tuple[Path, ...]:
    for variant in ("", ".fp16", ".bf16"):
        for suffix in (".safetensors", ".bin"):
            whole = folder / f"{_WEIGHTS}{variant}{suffix}"
            if whole.is_file():
                return (whole,)
            index = folder / f"{_WEIGHTS}{suffix}.index{variant}.json"
            if index.is_file():
                return _shards(index)
    return ()


def _shards(index: Path) -> tuple[Path, ...]:
    names = _shard_names(index)
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing or not names:
        raise CheckpointError(
            f"The model in {index.parent.name} is not complete",
            found=f"no file {missing[0]}" if missing else f"no list of files in {index.name}",
            expected=f"the {len(names)} files that {index.name} names",
            advice="Download the missing files into the same folder.",
        )
    return tuple(index.parent / name for name in names)


def _shard_names(index: Path) -> list[str]:
    """Return the names in an index; only plain names, so that none leads out of the folder."""
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        names = sorted(set(content["weight_map"].values()))
        if all(isinstance(name, str) and Path(name).name == name for name in names):
            return names
        found = "names that are no plain file names"
    except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        found = f"{type(error).__name__}: {error}"
    raise CheckpointError(
        f"{index.name} cannot be read",
        found=found,
        expected="the index of a model in several files, as diffusers writes it",
        advice="Download the file again.",
    )
