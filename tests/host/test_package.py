"""What would be published: a small harmless zip that a clean host can run."""

from __future__ import annotations

import json
import re
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from devtools.client import HostClient
from devtools.environment import ROOT
from devtools.models import demo_models
from devtools.package import build, shipped_files
from devtools.pins import read_pins
from devtools.server import HostServer
from devtools.templates.standins import with_standins
from devtools.templates.writing import WORKFLOWS

from .older_hosts import is_of_an_older_host

TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*.*")
"""One of a log, with the line that ends it."""
LARGEST = 600_000
"""Bytes of a file, and"""
MOST = 4_000_000
"""bytes of all."""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    with zipfile.ZipFile(build(folder)) as archive:
        archive.extractall(folder / "pack")
    return folder / "pack"


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_it_holds_the_pack_and_nothing_else(unpacked: Path) -> None:
    assert {path.name for path in unpacked.iterdir()} == {
        *("__init__.py", "nodes", "pixart_core", "workflows", "web", "locales", "docs"),
        *("requirements.txt", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"),
        *("TROUBLESHOOTING.md", "SECURITY.md"),
    }
    sizes = {name: (ROOT / name).stat().st_size for name in shipped_files()}
    assert max(sizes.values()) <= LARGEST, max(sizes, key=lambda name: sizes[name])
    assert sum(sizes.values()) <= MOST


def test_the_registry_would_take_it() -> None:
    about, comfy = project()["project"], project()["tool"]["comfy"]
    assert "comfyui" not in about["name"].lower()
    assert about["name"].isidentifier()
    assert [part.isdigit() for part in about["version"].split(".")] == [True] * 3
    assert about["license"] == {"file": "LICENSE"}
    assert about["description"]
    assert comfy["DisplayName"] == "PixArt"
    assert comfy["requires-comfyui"] == f">={read_pins().older[0].host_version}"
    listed = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needed = [line for line in listed if line and not line.startswith("#")]
    assert about["dependencies"] == needed
    assert f"## {about['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_a_clean_host_runs_the_demo_template_with_it(unpacked: Path) -> None:
    graph = json.loads((WORKFLOWS / "api" / "demo_model.json").read_text(encoding="utf-8"))
    with HostServer(demo_models(), pack=unpacked) as server:
        client = HostClient(server.address)
        info = client.object_info()
        assert info["PixArtSampler"]["python_module"] == "custom_nodes.ComfyUI-PixArt"
        result = client.run(with_standins(graph, {("PixArtSampler", "steps"): 2}))
        assert len(list(result.images())) == 1
        log = server.log_text()
        faults = TRACEBACK.findall(log)
        assert len(faults) == log.count("Traceback")
        assert not [fault for fault in faults if not is_of_an_older_host(fault)]
