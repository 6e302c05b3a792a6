"""Names that come from the content, and the files that are called by them."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixart_fleet.errors import FleetError
from pixart_fleet.jobs import Job, file_names, saving_as
from pixart_fleet.picture import with_graph
from pixart_fleet.workflow import Graph, make_workflow, read_workflow

from .lists import WORKFLOW, jobs_for, small_workflow


def test_a_name_comes_from_the_content_alone() -> None:
    workflow = read_workflow(WORKFLOW)
    own = workflow.value(("6", "seed"))
    first, second, third = jobs_for(
        workflow,
        [
            {("3", "text"): "a", ("6", "seed"): own},
            {("6", "seed"): 5, ("3", "text"): "a"},
            {("3", "text"): "a"},
            {("3", "text"): "b"},
            {("3", "text"): "a", ("6", "seed"): 5},
        ],
    )
    assert first.lines == (2, 4), "the workflow's own seed, said or not, is the same content"
    assert second.lines == (3, 6)
    assert third.lines == (5,)
    (other,) = jobs_for(small_workflow(), [{("3", "text"): "a"}])
    assert len({first.id, second.id, third.id, other.id}) == 4
    (again,) = jobs_for(read_workflow(WORKFLOW), [{("3", "text"): "a"}])
    assert again.id == first.id


def test_files_are_called_by_their_job() -> None:
    assert file_names(Job("ab", {}), [".png", ".png", ".latent"]) == [
        "ab.png",
        "ab-2.png",
        "ab-3.latent",
    ]


def test_only_what_saves_is_told_where() -> None:
    graph = read_workflow(WORKFLOW).graph
    told = saving_as(graph, "fleet/1")
    assert told["9"]["inputs"]["filename_prefix"] == "fleet/1-9"
    assert {node: told[node] for node in told if node != "9"} == {
        node: graph[node] for node in graph if node != "9"
    }
    assert graph["9"]["inputs"]["filename_prefix"] == "PixArt"


def png_of(said: Graph) -> bytes:
    """A picture as the host saves it."""
    note, file = PngInfo(), BytesIO()
    note.add_text("prompt", json.dumps(said))
    note.add_text("workflow", "{}")
    Image.new("RGB", (5, 3), "red").save(file, "PNG", pnginfo=note, compress_level=4)
    return file.getvalue()


def test_a_picture_says_how_it_alone_is_made() -> None:
    own = {
        "1": {"class_type": "Load", "inputs": {"strength": 1}},
        "2": {"class_type": "One", "inputs": {"text": "naïve ☃"}},
    }
    sent = {**own, "2": {"class_type": "Many", "inputs": {"texts": "naïve ☃\nb"}}}
    found = {"is_changed": ["when it was"]}

    def noted(graph: Graph) -> bytes:
        first = {"class_type": "Load", "inputs": {"strength": 1.0}}
        return png_of({"1": {**first, **found}, "2": {**graph["2"], **found}})

    alone, in_batch = noted(own), noted(sent)
    assert alone != in_batch
    assert with_graph(in_batch, own, sent) == alone
    assert with_graph(alone, own, own) == alone
    assert with_graph(b"a latent", own, sent) == b"a latent"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"nodes": [], "links": []}', "the editor's form"),
        ("{}", "no nodes"),
        ('{"1": {"inputs": {}}}', "a node without class_type"),
        ("[1", "Expecting"),
    ],
)
def test_a_workflow_that_is_none_is_a_sentence(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "workflow.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FleetError, match=said):
        read_workflow(path)


def test_prompts_are_found_behind_other_conditioning_nodes() -> None:
    graph = read_workflow(WORKFLOW).with_values({})
    graph["20"] = {
        "class_type": "PixArtResolutionConditioning",
        "inputs": {"conditioning": ["3", 0], "width": 8, "height": 8},
    }
    graph["6"]["inputs"]["positive"] = ["20", 0]
    workflow = make_workflow(graph, WORKFLOW)
    assert workflow.columns["prompt"] == ("3", "text")
    assert workflow.columns["negative"] == ("4", "text")
    assert "width" not in workflow.columns
    assert workflow.ambiguous["width"] == ("5.width", "20.width")
