"""Reading tensors from files, without running anything that is in them."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import CheckpointError

SAFETENSORS = (".safetensors", ".sft")
_DOWNLOAD_AGAIN = "Download the file again and compare its size with the one at its source."


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors or ``.pth`` file, memory-mapped where possible.

    A ``state_dict`` inside is unwrapped. Raises CheckpointError for a file that is missing,
    empty, cut off, or not of its kind.
    """
    _check_readable(path)
    if path.suffix.lower() in SAFETENSORS:
        return _read_safetensors(path)
    return _read_pickle(path)


def shapes_of(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor."""
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def _check_readable(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(
            f"{path.name} cannot be read",
            found="no such file",
            expected=f"a file at {path}",
            advice="Put it there, or refresh the list of files and choose another one.",
        )
    if not path.stat().st_size:
        raise CheckpointError(
            f"{path.name} cannot be read",
            found="an empty file",
            expected="a file with tensors",
            advice=_DOWNLOAD_AGAIN,
        )


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
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(
            f"{path.name} cannot be read",
            found=f"a file that holds more than tensors, or is damaged ({_first_line(error)})",
            expected="a PyTorch file with nothing but tensors",
            advice="Use a safetensors file of the same model.",
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
