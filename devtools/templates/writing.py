"""``python dev.py templates``: write the workflows, for the editor and for the API."""

from __future__ import annotations

import argparse
import json
import tomllib
from typing import Any

from devtools.client import HostClient
from devtools.environment import ROOT
from devtools.models import demo_models
from devtools.server import HostServer

from .editor import Info, editor_form
from .sources import TEMPLATES

WORKFLOWS = ROOT / "workflows"


def main(arguments: list[str]) -> int:
    """Ask a host for its nodes and write both forms of every template."""
    argparse.ArgumentParser(prog="dev.py templates", description=__doc__).parse_args(arguments)
    with HostServer(demo_models()) as server:
        info = HostClient(server.address).object_info()
    for path, content in written(info).items():
        (WORKFLOWS / path).write_text(content, encoding="utf-8")
        print(WORKFLOWS / path)
    return 0


def written(info: Info) -> dict[str, str]:
    """Return what each file below ``workflows`` holds, by its path there."""
    contents = {}
    for make in TEMPLATES:
        template = make()
        contents[f"{template.name}.json"] = _text(editor_form(template, info, pack_version()))
        contents[f"api/{template.name}.json"] = _text(template.api())
    return contents


def pack_version() -> str:
    """Return the pack's version, from pyproject.toml."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(table["project"]["version"])


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
