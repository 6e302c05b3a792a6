"""``python dev.py package``: build the zip that the Comfy Registry would publish."""

from __future__ import annotations

import argparse
import subprocess
import tomllib
import zipfile
from pathlib import Path

from devtools.environment import ROOT
from devtools.failure import Failure

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of all files in the zip, so that the same files give the same zip."""


def main(arguments: list[str]) -> int:
    """Build the zip and print its path and size."""
    parser = argparse.ArgumentParser(prog="dev.py package", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the zip")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = build(chosen.out)
    print(f"{len(shipped_files())} files, {path.stat().st_size / 1e6:.2f} MB")
    print(f"To try it, unpack it into a folder of ComfyUI's custom_nodes: {path.absolute()}")
    return 0


def build(folder: Path) -> Path:
    """Write the zip into a folder and return its path."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    path = folder / f"{project['name']}-{project['version']}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in shipped_files():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (ROOT / name).read_bytes())
    return path


def shipped_files() -> list[str]:
    """Return the paths of what is published: in git, and not named by .comfyignore."""
    left_out = set(_listed("--cached", "--ignored", f"--exclude-from={ROOT / '.comfyignore'}"))
    return sorted(set(_listed("--cached")) - left_out)


def _listed(*options: str) -> list[str]:
    command = ["git", "ls-files", "-z", *options]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        raise Failure(
            "Could not tell which files belong to the pack",
            found=listed.stderr.decode(errors="replace").strip(),
            expected=f"a git repository in {ROOT}",
            do="clone the repository, and run this in the clone",
        )
    return [name.decode() for name in listed.stdout.split(b"\0") if name]
