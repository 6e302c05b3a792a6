"""The host's archive: checked against its pin, and unpacked without what is not the host."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from devtools.failure import Failure

_CHECKED = ".pixart-sha256"


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_sha256(path: Path, expected: str) -> None:
    """Raise Failure unless the file has this digest."""
    found = sha256_of(path)
    if found != expected:
        raise Failure(
            f"Could not trust the downloaded {path.name}",
            found=f"sha256 {found}",
            expected=expected,
            do=f"delete {path} and run the same command again",
        )


def is_unpacked(target: Path, sha256: str) -> bool:
    """Whether ``target`` was unpacked whole from the archive with this digest."""
    checked = target / _CHECKED
    return checked.is_file() and checked.read_text(encoding="ascii") == sha256


def unpack(archive: Path, folder: str, target: Path, sha256: str) -> None:
    """Unpack one folder of a tar archive so that ``target`` is either whole or as it was.

    Raises Failure when the archive has another digest, is damaged, lacks the folder, or holds
    a path that would lead out of it.
    """
    require_sha256(archive, sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unpacking-", dir=target.parent) as name:
        fresh = Path(name) / target.name
        _extract(archive, folder, fresh)
        (fresh / _CHECKED).write_text(sha256, encoding="ascii")
        if target.exists():
            shutil.rmtree(target)
        fresh.rename(target)


def _extract(archive: Path, folder: str, fresh: Path) -> None:
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(fresh, members=_members_below(tar, folder), filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise _unusable(archive, str(error)) from error
    if not fresh.is_dir():
        raise _unusable(archive, f"no {folder} in it")


def _members_below(tar: tarfile.TarFile, folder: str) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        path = PurePosixPath(member.name)
        if path.is_relative_to(folder) and path != PurePosixPath(folder):
            yield member.replace(name=str(path.relative_to(folder)), deep=False)


def _unusable(archive: Path, found: str) -> Failure:
    return Failure(
        f"Could not unpack {archive.name}",
        found=found,
        expected="the host's files, none of them outside of its own folder",
        do="put the right archive and its sha256 into devtools/pins.toml",
    )
