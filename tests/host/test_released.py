"""What users have saved with a released version goes on working."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from devtools.client import HostClient
from devtools.freeze import NODES, releases, signatures
from devtools.templates.standins import with_standins
from devtools.templates.writing import WORKFLOWS, pack_version

from .test_templates import props

__all__ = ["props"]

RELEASES = releases()
SAVED = [path for folder in RELEASES for path in sorted((folder / "api").glob("*.json"))]
CHANGED = [
    path
    for path in SAVED
    if not (WORKFLOWS / "api" / path.name).is_file()
    or path.read_bytes() != (WORKFLOWS / "api" / path.name).read_bytes()
]
"""The others are run as they are now, by the tests of the templates."""


def name_of(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.stem}"


def test_the_present_version_is_frozen() -> None:
    assert pack_version() in {folder.name for folder in RELEASES}


@pytest.mark.parametrize("folder", RELEASES, ids=lambda folder: folder.name)
def test_nodes_are_what_they_were(client: HostClient, folder: Path) -> None:
    now = signatures(client.object_info())
    for kind, was in json.loads((folder / NODES).read_text(encoding="utf-8")).items():
        assert kind in now
        assert now[kind]["outputs"][: len(was["outputs"])] == was["outputs"], kind
        found = list(now[kind]["inputs"])
        # The editor saves values by their order, so that new inputs may only follow.
        assert found[: len(was["inputs"])] == list(was["inputs"]), kind
        for name, before in was["inputs"].items():
            assert_holds(now[kind]["inputs"][name], before, f"{kind}.{name}")


def assert_holds(now: Any, before: Any, what: str) -> None:
    if isinstance(before, list):
        assert [option for option in now if option in before] == before, what
    else:
        assert now == before, what


def test_saved_workflows_run(client: HostClient, props: dict[tuple[str, str], Any]) -> None:
    for path in CHANGED:
        graph = with_standins(json.loads(path.read_text(encoding="utf-8")), props)
        result = client.run(graph)
        assert result.outputs, name_of(path)
        assert not result.node_errors, name_of(path)


def test_what_was_saved_is_there() -> None:
    for folder in RELEASES:
        names = {path.stem for path in folder.glob("*.json")} - {Path(NODES).stem}
        assert names
        assert names <= {path.stem for path in (folder / "api").glob("*.json")}
