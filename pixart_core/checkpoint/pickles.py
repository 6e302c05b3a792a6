"""What a pickle asks for, read before anything of it is done."""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import IO

_SWELLING = frozenset({"bytearray", "Tensor"})
"""What torch's safe unpickler calls with any number, and which takes as much memory."""
_LEGACY_PICKLES, _TENSORS = 5, 3
"""Those that an old file begins with: magic number, version, machine, tensors, their keys."""


class ImmodestPickleError(RuntimeError):
    """A pickle would take more memory than its file can fill."""


def check_modest(path: Path) -> None:
    """Raise ImmodestPickleError for what would take more memory than the file has bytes.

    Only names and numbers of the instructions are looked at. What is no pickle passes: the
    unpickler says so better.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for part in archive.namelist():
                if part.endswith(".pkl"):
                    with archive.open(part) as stream:
                        _check(stream)
        return
    with path.open("rb") as stream:
        # There torch takes the memory of a tensor before it looks for its numbers.
        most = path.stat().st_size
        for number in range(_LEGACY_PICKLES):
            if not _check(stream, most if number == _TENSORS else None):
                return


def _check(stream: IO[bytes], most: int | None = None) -> bool:
    """Look at one pickle; return whether it was read to its end."""
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            # As one text, "builtins bytearray", or as two.
            if isinstance(argument, str) and argument.rpartition(" ")[2] in _SWELLING:
                raise ImmodestPickleError(f"a call of {argument}")
            counts = opcode.name.startswith(("INT", "BININT", "LONG"))
            if most is not None and counts and isinstance(argument, int) and argument > most:
                raise ImmodestPickleError(f"a count of {argument:,}")
    except ValueError:
        return False
    return True
