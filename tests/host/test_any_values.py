"""Whatever is given to the inputs of a node, the host answers and runs the next prompt."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devtools.client import HostClient
from devtools.server import HostServer
from tests.corpus.furnishing import furnish
from tests.corpus.habitats import HABITATS, Graph

from .test_corpus import outcome_of

KINDS = sorted(HABITATS)
FEW = 8
"""How far a number may lie above its least: what is allowed and large would only take long."""
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
"""JSON has no others; the corpus sends them as words."""
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBER | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def described(server: HostServer, client: HostClient) -> Mapping[str, Any]:
    furnish(server, client)
    return client.object_info()


def values_of(spec: list[Any]) -> st.SearchStrategy[Any]:
    """Return what may be given to an input: mostly of its type, and at times anything."""
    kind, options = spec[0], spec[1] if len(spec) > 1 else {}
    least, most = options.get("min", 0), options.get("max", 1)
    match kind:
        case "INT":
            near = st.integers(least, min(most, least + FEW))
            return near | st.integers(max_value=least - 1) | st.integers(most + 1) | ANYTHING
        case "FLOAT":
            return st.floats(least, most) | NUMBER | ANYTHING
        case "STRING":
            return st.text(max_size=200) | st.text("(a:1.5)[]{prompt}<lora:>\\,", max_size=60)
        case _:
            listed = kind if isinstance(kind, list) else options.get("options", [])
            return st.sampled_from(listed) | ANYTHING if listed else ANYTHING


@given(data=st.data())
@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_any_values_get_an_answer(
    server: HostServer, client: HostClient, described: Mapping[str, Any], data: st.DataObject
) -> None:
    graph = data.draw(graphs(described), label="graph")
    what, said = outcome_of(client, graph)
    assert what != "no sentence", said
    assert server.running()


@st.composite
def graphs(draw: st.DrawFn, described: Mapping[str, Any]) -> Graph:
    """Give a good graph with other values in up to three inputs of one node."""
    kind = draw(st.sampled_from(KINDS))
    given = described[kind]["input"]
    inputs = {**given.get("required", {}), **given.get("optional", {})}
    graph = copy.deepcopy(HABITATS[kind])
    for name in draw(st.lists(st.sampled_from(sorted(inputs)), max_size=3, unique=True)):
        graph["x"]["inputs"][name] = draw(values_of(inputs[name]))
    return graph


def test_the_next_prompt_runs(client: HostClient, described: Mapping[str, Any]) -> None:
    graph = copy.deepcopy(HABITATS["PixArtSampler"])
    graph["x"]["inputs"]["seed"] = 4711
    result = client.run(graph)
    assert "x" in {event.data.get("node") for event in result.events}
    assert result.outputs
