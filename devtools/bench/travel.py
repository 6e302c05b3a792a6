"""One folder with all that ``bench speed`` needs on a machine without this environment."""

from __future__ import annotations

import shutil
from pathlib import Path

from devtools.environment import ROOT, host_folder
from devtools.failure import Failure
from devtools.pins import read_pins

_TAKEN = ("__init__.py", "pyproject.toml", "pixart_core", "nodes", "devtools", "demo")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".git", "pictures")
_RUN = """#!/bin/sh
# Python 3.11 or later; the packages: pip install -r requirements.txt -r host/requirements.txt
cd "$(dirname "$0")"
export COMFYUI_PATH="$PWD/host" COMFYUI_PYTHON="${PYTHON:-python3}"
exec "$COMFYUI_PYTHON" -m devtools bench speed --out results "$@"
"""


def pack(folder: Path) -> int:
    """Write the folder; raise Failure where there is one already."""
    if folder.exists():
        raise Failure(
            "Could not make the folder",
            found=f"something at {folder}",
            expected="a place for a new folder",
            do="name another",
        )
    for name in _TAKEN:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=_LEFT_OUT)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    shutil.copytree(host_folder(), folder / "host", ignore=_LEFT_OUT, symlinks=True)
    pinned = "\n".join(read_pins().requirements())
    (folder / "requirements.txt").write_text(pinned + "\n", encoding="utf-8")
    script = folder / "run.sh"
    script.write_text(_RUN, encoding="utf-8")
    script.chmod(0o755)
    print(f"{folder}: copy it, install its two requirements.txt, and start run.sh")
    return 0
