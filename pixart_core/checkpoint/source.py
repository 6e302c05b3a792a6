"""Which files a model consists of: one file, or a folder as Hugging Face's libraries write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from ..errors import CheckpointError
from ..json_text import read_json

SAFETENSORS = (".safetensors", ".sft")
_ENDINGS = (".safetensors", ".bin", ".json")
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}(\.\w+)")


@dataclass(frozen=True)
class FolderKind:
    """How a library names the files of one kind of model."""

    noun: str
    stems: tuple[str, ...]
    """What the names of weight files begin with."""
    subfolder: str
    """Where they lie in a pipeline."""


TRANSFORMER = FolderKind("a PixArt model", ("diffusion_pytorch_model",), "transformer")
TEXT_ENCODER = FolderKind("a T5 text encoder", ("model", "pytorch_model"), "text_encoder")

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
        return f"{_pipeline_of(first.parent, TRANSFORMER).name}/{self.name}"


def find_source(path: Path, kind: FolderKind = TRANSFORMER) -> Source:
    """Return the files of a model file or folder.

    A folder is a diffusers pipeline, with a folder ``transformer`` (or ``text_encoder``), or that
    folder itself; a file that is a part of a model stands for all its parts. Full precision is
    preferred where both are there. Raises CheckpointError where there is no such file, or no
    model of this kind in the folder.
    """
    if path.is_dir():
        return _folder_source(path, kind)
    if not path.is_file():
        raise CheckpointError(
            f"{path.name} cannot be read",
            found="no such file",
            expected=f"a file or folder at {path}",
            advice="Put it there, or refresh the list of files and choose another one.",
        )
    files = _all_parts(path)
    if path.stem.startswith(kind.stems):
        return Source(files, path.parent, f"{_pipeline_of(path.parent, kind).name}/{path.name}")
    return Source(
        files, path.parent if (path.parent / "config.json").is_file() else None, path.name
    )


def is_model_folder(path: Path, kind: FolderKind = TRANSFORMER) -> bool:
    """Whether a folder holds a model of this kind, by the names of its files alone."""
    return any(_holds_weights(folder, kind) for folder in (path / kind.subfolder, path))


def _holds_weights(folder: Path, kind: FolderKind) -> bool:
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:  # no such folder, or not ours to read
        return False
    return any(name.startswith(kind.stems) and name.endswith(_ENDINGS) for name in names)


def _folder_source(path: Path, kind: FolderKind) -> Source:
    for folder in (path / kind.subfolder, path):
        files = _weights_in(folder, kind)
        if files:
            extra = folder / NULL_CAPTION_FILE
            files = (*files, extra) if extra.is_file() else files
            return Source(files, folder, _pipeline_of(path, kind).name)
    raise CheckpointError(
        f"The folder {path.name} cannot be loaded as {kind.noun}",
        found=", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing in it",
        expected=f"{kind.subfolder}/{kind.stems[0]}.safetensors, or that file itself",
        advice=f"Choose the folder of a diffusers pipeline, or its {kind.subfolder} folder.",
    )


def _pipeline_of(folder: Path, kind: FolderKind) -> Path:
    return folder.parent if folder.name == kind.subfolder else folder


def _weights_in(folder: Path, kind: FolderKind) -> tuple[Path, ...]:
    for variant in ("", ".fp16", ".bf16"):
        for suffix, stem in product((".safetensors", ".bin"), kind.stems):
            whole = folder / f"{stem}{variant}{suffix}"
            if whole.is_file():
                return (whole,)
            index = folder / f"{stem}{suffix}.index{variant}.json"
            if index.is_file():
                return _shards(index)
    return ()


def _all_parts(file: Path) -> tuple[Path, ...]:
    part = _SHARD.fullmatch(file.name)
    index = file.parent / f"{part[1]}{part[2]}.index.json" if part else None
    return _shards(index) if index and index.is_file() else (file,)


def _shards(index: Path) -> tuple[Path, ...]:
    names = _shard_names(index)
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing or not names:
        raise CheckpointError(
            f"The model in {index.parent.name} is not complete",
            found=f"no file {missing[0]}" if missing else f"no list of files in {index.name}",
            expected=f"the files that {index.name} names, {len(names)} of them"
            if missing
            else "names of files in it",
            advice=f"Download {'the missing files' if missing else index.name + ' again'} into "
            "the same folder.",
        )
    return tuple(index.parent / name for name in names)


def _shard_names(index: Path) -> list[str]:
    """Return the names in an index; only plain names, so that none leads out of the folder."""
    try:
        content = read_json(index)
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
