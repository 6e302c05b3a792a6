"""``python dev.py models``: the official files, where they go, and which of them are there."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from devtools.templates import files
from devtools.templates.files import ModelFile

OFFICIAL: tuple[ModelFile, ...] = (
    *(files.SIGMA_1024, files.SIGMA_2K, files.ALPHA_1024, files.ALPHA_512, files.LCM, files.DMD),
    *(files.CONTROLNET, files.HED, files.T5, files.VAE_SIGMA, files.VAE_ALPHA),
)
"""Those that the templates name. The machines that the pack is built on cannot reach them."""

_ROUNDING = 0.05
"""How far a file's size may be from the listed one, as a share: those are rounded."""


def main(arguments: list[str]) -> int:
    """Print a line for each file: whether it is there, its size, its folder and its address."""
    parser = argparse.ArgumentParser(prog="dev.py models", description=__doc__)
    parser.add_argument(
        "--models", type=Path, help="ComfyUI's folder of models (default: that of COMFYUI_PATH)"
    )
    folder = parser.parse_args(arguments).models or _named_folder()
    for file in OFFICIAL:
        print(f"{_state(file, folder):8} {file.gigabytes:5.2f} GB  {file.folder}/{file.name}")
        print(f"{'':20} {file.url}")
    where = folder.absolute() if folder else "no folder given: see --models"
    print(f"\nLooked in: {where}")
    print("Several files are downloaded under one name (diffusion_pytorch_model.safetensors, …):")
    print("give each the name that stands above. Which go together: the README's Files.")
    return 0


def _named_folder() -> Path | None:
    named = os.environ.get("COMFYUI_PATH")
    return Path(named) / "models" if named else None


def _state(file: ModelFile, folder: Path | None) -> str:
    """Say whether a file is there, under any folder within its own, and whole."""
    found = list((folder / file.folder).rglob(file.name)) if folder else []
    if not found:
        return "missing" if folder else "-"
    size = found[0].stat().st_size / 1e9
    whole = abs(size - file.gigabytes) <= max(_ROUNDING * file.gigabytes, 0.01)
    return "there" if whole else "size?"
