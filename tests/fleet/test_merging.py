"""Which rows are drawn together, and by which graph."""

from __future__ import annotations

from typing import Any

import pytest

from pixart_fleet.merging import groups, merged, seams_of
from pixart_fleet.workflow import Place, Workflow, make_workflow

from .lists import WORKFLOW, jobs_for, small_workflow

PROMPT, NEGATIVE, SEED = ("3", "text"), ("4", "text"), ("6", "seed")


def lines_of(workflow: Workflow, values: list[dict[Place, Any]], batch: int) -> list[list[int]]:
    """The rows of each group."""
    found = groups(jobs_for(workflow, values), workflow, batch)
    return [[line for job in group for line in job.lines] for group in found]


def test_rows_that_share_all_but_prompts_and_seed_are_drawn_together() -> None:
    rows: list[dict[Place, Any]] = [
        {PROMPT: "a", SEED: 1},
        {PROMPT: "b", SEED: 2},
        {PROMPT: "c", ("6", "steps"): 5},
        {PROMPT: "d", NEGATIVE: "blurry", SEED: 1},
        {PROMPT: "e", ("5", "width"): 256},
        {PROMPT: "f", SEED: 3},
        {PROMPT: "g", NEGATIVE: "grey", SEED: 1},
        {PROMPT: "h", ("6", "steps"): 5},
        {PROMPT: "i", SEED: 4},
    ]
    workflow = small_workflow()
    assert lines_of(workflow, rows, 3) == [[2, 3, 7], [10], [4, 9], [5, 8], [6]]
    assert lines_of(workflow, rows, 1) == [[n] for n in range(2, 11)]


def test_texts_that_are_no_single_line_are_never_put_into_a_list_of_lines() -> None:
    rows: list[dict[Place, Any]] = [
        {PROMPT: "two\nlines", SEED: 1},
        {PROMPT: "two\nlines", SEED: 2},
        {PROMPT: "also\u2028two", SEED: 1},
        {PROMPT: "", SEED: 1},
        {PROMPT: "  ", SEED: 1},
        {PROMPT: "one", SEED: 1},
    ]
    workflow = small_workflow()
    assert lines_of(workflow, rows, 8) == [[2, 3], [4], [5], [6], [7]]
    graph = merged(jobs_for(workflow, rows)[:2], workflow)
    assert graph["3"] == workflow.with_values({PROMPT: "two\nlines"})["3"]


def test_the_merged_graph_differs_only_where_it_must() -> None:
    workflow = small_workflow()
    jobs = jobs_for(workflow, [{PROMPT: "a", SEED: 2**64 - 1}, {PROMPT: "b", NEGATIVE: "x"}])
    assert merged(jobs[:1], workflow) == workflow.with_values(jobs[0].values)
    graph = merged(
        jobs_for(workflow, [{PROMPT: "a", SEED: 2**64 - 1}, {PROMPT: "b, c", SEED: 3}]), workflow
    )
    shared = {"clip": ["2", 0], "cleaning": "auto", "model": ["1", 0]}
    assert graph["3"]["class_type"] == "PixArtPromptBatch"
    assert graph["3"]["inputs"] == {**shared, "texts": "a\nb, c"}
    assert graph["4"] == workflow.graph["4"]
    assert graph["5"]["inputs"] == {"width": 128, "height": 128, "batch_size": 2}
    assert graph["6"]["inputs"]["seeds"] == f"{2**64 - 1}, 3"
    assert all(graph[node] == workflow.graph[node] for node in ("1", "2", "7", "8", "9"))


def changed(node: str, **inputs: Any) -> dict[str, dict[str, Any]]:
    graph = small_workflow().with_values({})
    graph[node]["inputs"] |= inputs
    return graph


def added(class_type: str, **inputs: Any) -> dict[str, dict[str, Any]]:
    return {**small_workflow().graph, "20": {"class_type": class_type, "inputs": inputs}}


@pytest.mark.parametrize(
    "graph",
    [
        added("RescaleCFG", model=["1", 0]),
        added("PixArtNullConditioning", model=["1", 0], positive=["3", 0]),
        added("SaveImage", images=["3", 1], filename_prefix="reads the encoded text"),
        added("PixArtSampler", **small_workflow().graph["6"]["inputs"]),
        changed("5", batch_size=2),
        changed("6", seeds="1, 2"),
        changed("6", seed=["5", 1]),
        changed("6", negative=["3", 0]),
        changed("3", text=["4", 1]),
    ],
)
def test_what_treats_a_batch_as_a_whole_is_not_merged(graph: dict[str, dict[str, Any]]) -> None:
    workflow = make_workflow(graph, WORKFLOW)
    assert seams_of(small_workflow()) is not None
    assert seams_of(workflow) is None
    assert [len(group) for group in groups(jobs_for(workflow, [{SEED: 1}]), workflow, 4)] == [1]


def test_a_row_with_a_batch_of_its_own_is_drawn_alone() -> None:
    rows: list[dict[Place, Any]] = [
        {SEED: 1, ("5", "batch_size"): 2},
        {SEED: 2, ("5", "batch_size"): 2},
    ]
    assert lines_of(small_workflow(), rows, 4) == [[2], [3]]
