"""Reading tensors from files, without running anything that is in them."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import CheckpointError
from .containers import tensors_in, without_prefix
from .hints import Hints, is_note, read_hints
from .leftovers import inert_leftovers
from .pickles import check_modest
from .source import SAFETENSORS, TRANSFORMER, FolderKind, Source, find_source

_DOWNLOAD_AGAIN = "Download the file again and compare its size with the one at its source."

Stamp = tuple[tuple[int, int], ...]
"""Size and time of each file, by which a change is noticed."""


@dataclass(frozen=True)
class OpenedFiles:
    """All tensors of a model's files, as they name them."""

    source: Source
    tensors: dict[str, Tensor]
    stamp: Stamp

    def check_unchanged(self) -> None:
        """Raise CheckpointError if a file was replaced since the reading began."""
        if _stamp(self.source) != self.stamp:
            raise CheckpointError(
                f"{self.source.name} cannot be loaded",
                found="a file that changed while it was read",
                expected="a file that stays as it is",
                advice="Wait until it is written or downloaded, then run this again.",
            )


@dataclass(frozen=True)
class Checkpoint(OpenedFiles):
    """A transformer's tensors, prefixes taken off, and what is known of it."""

    hints: Hints
    notices: tuple[str, ...]


def read_checkpoint(path: Path) -> Checkpoint:
    """Open a model file, a diffusers folder, or one of its files, as `open_files` does."""
    opened = open_files(path)
    unwrapped = without_prefix(opened.tensors)
    hints = read_hints(opened.source, unwrapped.tensors)
    own = {key: value for key, value in unwrapped.tensors.items() if not is_note(key)}
    return Checkpoint(opened.source, own, opened.stamp, hints, unwrapped.notices)


def open_files(path: Path, kind: FolderKind = TRANSFORMER) -> OpenedFiles:
    """Open all files of a model.

    Tensors are mapped, not read, where the kind of file allows. Raises CheckpointError for what is
    missing, empty, cut off, not of its kind, or holds two of a name.
    """
    with _sentences(path):
        source = find_source(path, kind)
    stamp = _stamp(source)
    tensors: dict[str, Tensor] = {}
    for file in source.files:
        own = read_tensors(file)
        twice = next(iter(tensors.keys() & own.keys()), None)
        if twice is not None:
            raise CheckpointError(
                f"{source.name} cannot be read",
                found=f"the tensor {twice} in two of its files",
                expected="each tensor once",
                advice=_DOWNLOAD_AGAIN,
            )
        tensors |= own
    return OpenedFiles(source, tensors, stamp)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file or a pickle, memory-mapped where possible.

    A ``state_dict`` inside is unwrapped. Raises CheckpointError for a file that is missing,
    empty, cut off, or not of its kind.
    """
    with _sentences(path):
        # safetensors says of a file without permission that it is not there.
        with path.open("rb") as file:
            start = file.read(9)
        if not start:
            raise CheckpointError(
                f"{path.name} cannot be read",
                found="an empty file",
                expected="a file with tensors",
                advice=_DOWNLOAD_AGAIN,
            )
        # By its content too: a header's length, and the brace that it begins with.
        if path.suffix.lower() in SAFETENSORS or (
            start[8:] == b"{" and not start[5:8].strip(b"\0")
        ):
            return _read_safetensors(path)
        return _read_pickle(path)


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor."""
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def _stamp(source: Source) -> Stamp:
    try:
        return tuple((s.st_size, s.st_mtime_ns) for s in map(os.stat, source.files))
    except OSError:
        return ()


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.name} cannot be read",
            found="no such file",
            expected=f"a file at {path}",
            advice="Put it there, or refresh the list of files and choose another one.",
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{path.name} cannot be read",
            found=error.strerror or str(error),
            expected="a file that this user may read",
            advice="Check its permissions and the disk.",
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(
            f"{path.name} cannot be read",
            found=f"a damaged file of {path.stat().st_size:,} bytes ({error})",
            expected="a whole safetensors file",
            advice=_DOWNLOAD_AGAIN,
        ) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        # Only the newer kind of file, a zip, can be mapped.
        mapped = zipfile.is_zipfile(path)
        if mapped:
            _check_stored(path)
        check_modest(path)
        with inert_leftovers():
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        return _plain(tensors_in(content))
    except (
        *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, KeyError),
        *(AttributeError, IndexError, AssertionError, OverflowError, zipfile.BadZipFile),
        *(MemoryError, struct.error, RecursionError),
    ) as error:
        # torch's unpickler meets a damaged stream with whatever its stack machine stumbles over.
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{path.name} cannot be read",
            found="a file that holds more than tensors, or is damaged" + _detail(error),
            expected="a PyTorch file with nothing but tensors",
            advice="Use a safetensors file of the same model.",
        ) from error


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors if each lies wholly in memory, else raise ValueError.

    A few bytes can be given any shape, by repeating them or by leaving them out.
    """
    for key, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ValueError(f"{key} is not a plain tensor")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"{key} claims more numbers than there are")
    return tensors


def _check_stored(path: Path) -> None:
    """Refuse a zip whose parts are compressed: torch never writes one, and it may be a bomb."""
    with zipfile.ZipFile(path) as archive:
        packed = [part for part in archive.infolist() if part.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise CheckpointError(
            f"{path.name} cannot be read",
            found=f"compressed parts of {sum(part.file_size for part in packed):,} bytes",
            expected="a PyTorch file, which is never compressed",
            advice="Use a safetensors file of the same model.",
        )


def _detail(error: Exception) -> str:
    """Return what torch says, but for its advice to load unsafely."""
    line = (str(error).splitlines() or [""])[0][:200]
    return "" if not line or line.isdigit() or "weights_only" in line else f" ({line})"
