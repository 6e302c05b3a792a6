"""``python dev.py freeze``: keep what this version's users will have saved.

Node ids, inputs, their order and options, and the workflows, under ``tests/released/<version>``.
Run it when a version is tagged; from then on tests hold every later one to it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devtools.client import HostClient
from devtools.environment import ROOT
from devtools.failure import Failure
from devtools.models import demo_models
from devtools.server import HostServer
from devtools.templates.writing import WORKFLOWS, pack_version

RELEASED = ROOT / "tests" / "released"
NODES = "nodes.json"
FILES = frozenset({"file", "ckpt_name", "lora_name", "t5v11_name"})
"""Inputs whose options are the files of a machine."""


def main(arguments: list[str]) -> int:
    """Write the folder of the present version and print its path."""
    parser = argparse.ArgumentParser(
        prog="dev.py freeze",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")
    force, folder = parser.parse_args(arguments).force, RELEASED / pack_version()
    if folder.exists() and not force:
        raise Failure(
            f"Could not freeze version {folder.name}",
            found=f"{folder}, which keeps it already",
            expected="a version that was not frozen",
            do="raise the version in pyproject.toml, or say --force before it is tagged",
        )
    with HostServer(demo_models()) as server:
        info = HostClient(server.address).object_info()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(WORKFLOWS, folder, ignore=shutil.ignore_patterns("*.jpg"))
    text = json.dumps(signatures(info), indent=1, ensure_ascii=False) + "\n"
    (folder / NODES).write_text(text, encoding="utf-8")
    print(folder)
    return 0


def signatures(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what saved workflows rely on, of each node of the pack."""
    return {
        kind: {"inputs": _inputs(node), "outputs": list(node["output"])}
        for kind, node in sorted(info.items())
        if kind.startswith("PixArt")
    }


def releases() -> list[Path]:
    """Return the folder of each frozen version."""
    return sorted(path.parent for path in RELEASED.glob(f"*/{NODES}"))


def _inputs(node: Mapping[str, Any]) -> dict[str, Any]:
    given = node["input"]
    described = {**given.get("required", {}), **given.get("optional", {})}
    return {name: _input(name, spec) for name, spec in described.items()}


def _input(name: str, spec: list[Any]) -> Any:
    """Return an input's type, or its options where it has a fixed list of them."""
    kind, options = spec[0], spec[1] if len(spec) > 1 else {}
    listed = kind if isinstance(kind, list) else options.get("options")
    if listed is None:
        return kind
    return "a file" if name in FILES else list(listed)
