"""The one way in which the project writes files: wholly, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from .errors import PixArtError


class WritingError(PixArtError):
    """A file cannot be written."""


def check_free(target: Path, force: bool, folder: bool) -> None:
    """Raise WritingError where something is in the way of ``target``.

    With ``force`` a file may be replaced, and a folder's own files; never one by the other.
    """
    if not target.exists():
        return
    if not force:
        raise WritingError(
            f"{target.name} was not written",
            found="something of that name there already",
            expected="a free name",
            advice="Choose another one, or (on the command line) give --force to replace it.",
        )
    if target.is_dir() != folder:
        raise WritingError(
            f"{target.name} was not written",
            found="a folder of that name" if target.is_dir() else "a file of that name",
            expected="a folder" if folder else "a file",
            advice="Choose another name.",
        )


@contextmanager
def written(target: Path, force: bool = False, folder: bool = False) -> Iterator[Path]:
    """Give a path beside ``target`` to write to, and put it in place when the block ends well.

    A block that fails, or a process that is killed, leaves nothing under the final name, and what
    was there before as it was. In a folder that is there, files of the same names are replaced,
    each at once, and all others stay. Raises WritingError where something is in the way, or
    nothing can be written.
    """
    check_free(target, force, folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _failed(target, error) from error
    try:
        draft = scratch / target.name
        if folder:
            draft.mkdir()
        yield draft
        _flush(draft)
        check_free(target, force, folder)
        _put_in_place(draft, target)
    except (OSError, SafetensorError) as error:
        raise _failed(target, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _put_in_place(draft: Path, target: Path) -> None:
    if not target.is_dir():
        draft.replace(target)
        return
    for file in draft.iterdir():
        file.replace(target / file.name)


def _flush(draft: Path) -> None:
    for file in draft.iterdir() if draft.is_dir() else (draft,):
        # safetensors makes files that only their owner may read.
        file.chmod(0o644)
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())


def _failed(target: Path, error: Exception) -> WritingError:
    return WritingError(
        f"{target.name} was not written",
        found=getattr(error, "strerror", None) or str(error),
        expected=f"room and permission to write in {target.parent}",
        advice="Free space, or choose another place.",
    )
