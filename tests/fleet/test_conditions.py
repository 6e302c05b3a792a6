"""What is refused before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pixart_fleet.conditions import check_listening, check_places, check_saving
from pixart_fleet.errors import FleetError
from pixart_fleet.options import PACK, ServeOptions, parse
from pixart_fleet.workflow import make_workflow

from .lists import WORKFLOW, small_workflow


@pytest.fixture
def options(tmp_path: Path) -> ServeOptions:
    (tmp_path / "models").mkdir()
    (tmp_path / "main.py").touch()
    parsed = parse(["serve", "--workflow", str(WORKFLOW), "--comfyui", str(tmp_path)])
    assert isinstance(parsed, ServeOptions)
    return parsed


@pytest.mark.parametrize("missing", ["comfyui", "python", "models", "pack", "inputs"])
def test_a_folder_that_is_not_there_is_a_sentence(missing: str, options: ServeOptions) -> None:
    check_places(options)
    gone = PACK / "nowhere"
    facts = replace(options.facts, **{missing: gone})  # type: ignore[arg-type]
    option = "input" if missing == "inputs" else missing
    with pytest.raises(FleetError, match=f"found nothing at {gone}.*with --{option}"):
        check_places(replace(options, facts=facts))
    check_places(replace(options, facts=facts, ray_address="elsewhere:6379"))


def test_a_workflow_must_save_something() -> None:
    workflow = small_workflow()
    check_saving(workflow, WORKFLOW)
    graph = {node: content for node, content in workflow.graph.items() if node != "9"}
    with pytest.raises(FleetError, match="no node that saves a file"):
        check_saving(make_workflow(graph, WORKFLOW), WORKFLOW)


def test_strangers_need_a_key(options: ServeOptions) -> None:
    for host in ("127.0.0.1", "127.0.0.9", "::1", "localhost"):
        check_listening(replace(options, host=host, key=""))
    for host in ("0.0.0.0", "::", "192.168.0.2", "gpu-box"):
        with pytest.raises(FleetError, match=f"service on {host}: found no key"):
            check_listening(replace(options, host=host, key=""))
        check_listening(replace(options, host=host, key="x" * 16))
    with pytest.raises(FleetError, match="a key of 5 letters"):
        check_listening(replace(options, key="short"))
