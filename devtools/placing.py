"""The throw-away folder of a host: the pack and the models, put in by link where possible."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from devtools.environment import ROOT
from devtools.failure import Failure

PACK = "ComfyUI-PixArt"
SHIPPED = ("__init__.py", "pixart_core", "nodes", "web", "locales", "workflows")
"""What a copy of the pack takes along where a link to the repository cannot be made."""

_FOLDERS = (
    *("custom_nodes", "models/diffusion_models", "models/text_encoders", "models/vae"),
    *("input", "output", "temp", "user"),
)


def furnish(
    base: Path,
    models: Mapping[str, Sequence[Path]],
    pack: Path = ROOT,
    beside: Sequence[Path] = (),
) -> None:
    """Make a host's folders in ``base`` and place ``pack`` and ``models`` (folder -> files).

    ``beside`` are other custom nodes of one file each.

    Raises Failure where a model is not there.
    """
    for folder in _FOLDERS:
        (base / folder).mkdir(parents=True)
    _place_pack(pack, base / "custom_nodes" / PACK)
    for path in beside:
        _copy(path, base / "custom_nodes" / path.name)
    for folder, paths in models.items():
        target = base / "models" / folder
        target.mkdir(parents=True, exist_ok=True)
        for path in paths:
            _place_model(path.absolute(), target / path.name)


def _place_pack(pack: Path, target: Path) -> None:
    try:
        target.symlink_to(pack, target_is_directory=True)
    except OSError:  # Windows without the right to make links
        target.mkdir()
        for name in SHIPPED:
            source = pack / name
            if source.exists():
                _copy(source, target / name)


def _place_model(source: Path, target: Path) -> None:
    if not source.exists():
        raise Failure(
            "Could not give the host a model",
            found=f"nothing at {source}",
            expected="a model file or folder",
            do="make the file first (python dev.py train makes the demo models)",
        )
    try:
        target.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        return
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)
