"""The one way in which the project writes files: wholly, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import PixArtError


class WritingError(PixArtError):
    """A file cannot be written."""


@contextmanager
def written(target: Path, force: bool = False, folder: bool = False) -> Iterator[Path]:
    """Give a path beside ``target`` to write to, and put it in place when the block ends well.

    A block that fails, or a process that is killed, leaves nothing under the final name, and what
    was there before as it was. Raises WritingError where something is there and ``force`` is not
    set, or where nothing can be written.
    """
    if target.exists() and not force:
        raise WritingError(
            f"{target.name} was not written",
            found="something of that name there already",
            expected="a free name",
            advice="Choose another one, or give --force to replace it.",
        )
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
        _put_in_place(draft, target, scratch)
    except OSError as error:
        raise _failed(target, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _put_in_place(draft: Path, target: Path, scratch: Path) -> None:
    _flush(draft)
    if target.is_dir() or (draft.is_dir() and target.exists()):
        # A folder cannot be replaced in one step: the old one steps aside.
        target.rename(scratch / f"{target.name}.old")
    draft.replace(target)


def _flush(draft: Path) -> None:
    for file in draft.rglob("*") if draft.is_dir() else (draft,):
        # safetensors makes files that only their owner may read.
        file.chmod(0o644)
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())


def _failed(target: Path, error: OSError) -> WritingError:
    return WritingError(
        f"{target.name} was not written",
        found=error.strerror or str(error),
        expected=f"room and permission to write in {target.parent}",
        advice="Free space, or choose another place.",
    )
