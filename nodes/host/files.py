"""The host's folders of models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import folder_paths

from ...pixart_core.checkpoint.control import CONTROLNET
from ...pixart_core.checkpoint.source import (
    TEXT_ENCODER,
    TRANSFORMER,
    FolderKind,
    find_source,
    is_model_folder,
)
from ...pixart_core.errors import CheckpointError
from ...pixart_core.lora.reading import LORA
from ...pixart_core.lora.settings import ADAPTER_CONFIG
from ...pixart_core.text.t5_file import tokenizer_of

_WEIGHTS = {".safetensors", ".sft", ".bin", ".pt", ".pth", ".ckpt"}


@dataclass(frozen=True)
class Shelf:
    """Where one kind of model lies: some of the host's folders, with files and with folders."""

    folders: tuple[str, ...]
    kind: FolderKind

    def names(self) -> list[str]:
        """List the files, and the folders of several files, that may be such models."""
        return list(dict.fromkeys([*_names(self.folders), *self._model_folders()]))

    def find(self, name: str) -> Path:
        """Return the path of a listed model; raise CheckpointError where it is gone."""
        folder = self._model_folders().get(name)
        return folder if folder is not None else _find(self.folders, name)

    def fingerprint(self, name: str | None) -> str:
        """Return a text that changes when the model is replaced, empty where it is unknown."""
        if name is None:
            return ""
        try:
            source = find_source(self.find(name), self.kind)
        except (CheckpointError, OSError):
            return ""
        beside = [source.files[0].parent / ADAPTER_CONFIG] if self.kind is LORA else []
        tokenizer = tokenizer_of(source) if self.kind is TEXT_ENCODER else None
        beside += [tokenizer] if tokenizer else []
        return " ".join(map(stamp_of, [*source.files, *beside]))

    def _model_folders(self) -> dict[str, Path]:
        """Return the folders that hold a model, by the name users see.

        A pipeline is listed, not also the folder of its part.
        """
        found: dict[str, Path] = {}
        for root in _roots(self.folders):
            for path in _folders_below(root, self.kind, _DEEPEST):
                found.setdefault(path.relative_to(root).as_posix(), path)
        return found


_DEEPEST = 4
"""Folders within folders that are looked into."""

MODELS = Shelf(("diffusion_models", "checkpoints"), TRANSFORMER)
CONTROLNETS = Shelf(("controlnet",), CONTROLNET)
ANNOTATORS = Shelf(("controlnet",), FolderKind("an annotator", ("annotator",), "annotator"))
LORAS = Shelf(("loras",), LORA)
TEXT_ENCODERS = Shelf(("text_encoders", "t5"), TEXT_ENCODER)
"""The host's ``clip`` is its ``text_encoders``; ``t5`` is where older packs kept T5."""


def register_folders() -> None:
    """Tell the host of the folder ``t5``, beside those that a configuration may have named."""
    folder_paths.add_model_folder_path("t5", str(Path(folder_paths.models_dir) / "t5"))


def _find(folders: tuple[str, ...], name: str) -> Path:
    """Return the path of a listed file; raise CheckpointError where it is gone."""
    known = folder_paths.folder_names_and_paths
    for folder in (folder for folder in folders if folder in known):
        path = folder_paths.get_full_path(folder, name)
        if path is not None:
            return Path(path)
    raise CheckpointError(
        f"{name} cannot be loaded",
        found="no such file",
        expected=f"a file of that name in the folder {' or '.join(folders)}",
        advice="Put it there, or refresh the list of files and choose another one.",
    )


def stamp_of(path: Path) -> str:
    """Return a text that changes when a file is replaced, empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _roots(folders: tuple[str, ...]) -> list[Path]:
    known = folder_paths.folder_names_and_paths
    roots = (Path(r) for f in folders if f in known for r in folder_paths.get_folder_paths(f))
    return [root for root in roots if root.is_dir()]


def _folders_below(folder: Path, kind: FolderKind, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(e for e in folder.iterdir() if e.is_dir() and not e.name.startswith("."))
    except OSError:  # not ours to read, as lost+found
        return
    for entry in entries:
        if is_model_folder(entry, kind):
            yield entry
        elif depth > 1:
            yield from _folders_below(entry, kind, depth - 1)


def _names(folders: tuple[str, ...]) -> list[str]:
    known = [f for f in folders if f in folder_paths.folder_names_and_paths]
    listed = (name for folder in known for name in folder_paths.get_filename_list(folder))
    return [name for name in dict.fromkeys(listed) if Path(name).suffix.lower() in _WEIGHTS]
