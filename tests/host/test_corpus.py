"""Each bad input gets what the corpus says, and the next good prompt the same picture as ever.

``python dev.py corpus`` looks at the picture after each case; here, for time, after some: a picture
that a case had changed would still be wrong a few cases on.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from itertools import chain, cycle
from pathlib import Path

import pytest

from devtools import corpus
from devtools.client import ExecutionFailed, HostClient, Rejected
from devtools.server import HostServer
from tests.corpus.bad_files import READERS, file_cases, write_files
from tests.corpus.bad_folders import folder_cases, place_table, table_cases, write_folders
from tests.corpus.bad_values import cases
from tests.corpus.furnishing import furnish
from tests.corpus.habitats import HABITATS, Graph, good_graph

from .older_hosts import is_as_known
from .test_prompt_nodes import picture_bytes

EXPECTED = Path(__file__).parents[1] / "corpus" / "expected.json"
KNOWN: dict[str, list[str]] = json.loads(EXPECTED.read_text(encoding="utf-8"))
ACCEPT = bool(os.environ.get(corpus.ACCEPT))
EACH = bool(os.environ.get(corpus.EACH))
SELDOM = {"refused": 1 if EACH else 40, "failed": 1 if EACH else 4, "drawn": 1}
"""Of the cases that ended so, one in so many is followed by a good picture."""
SENTENCE = re.compile(r"^(?P<key>.+?): found .+, expected .+?[.;] \S", re.DOTALL)
PACK = "ComfyUI-PixArt"
"""What a line of a traceback holds where it is of the pack."""
WITNESS = Path("/tmp/pixart-corpus-was-here")


@pytest.fixture(scope="module")
def furnished(server: HostServer, client: HostClient) -> HostServer:
    """The shared server with the corpus's files."""
    furnish(server, client)
    write_files(server.base / "models")
    write_folders(server.base / "models")
    return server


@pytest.fixture(scope="module")
def graphs(client: HostClient, furnished: HostServer) -> dict[str, Graph]:
    values = cases(client.object_info())
    return dict(chain(values, file_cases(), folder_cases(), table_cases()))


@pytest.fixture(scope="module")
def good(client: HostClient, furnished: HostServer) -> Iterator[tuple[Graph, bytes]]:
    """Good graphs in turn, each with its picture: in turn, lest the host answers from its cache."""
    both = [good_graph(seed, f"corpus-{seed}") for seed in (11, 12)]
    return cycle([(graph, picture_of(client, graph)) for graph in both])


def picture_of(client: HostClient, graph: Graph) -> bytes:
    result = client.run(graph)
    assert "sampler" in {event.data.get("node") for event in result.events}
    (picture,) = picture_bytes(client, result)
    return picture


def test_every_habitat_is_good(client: HostClient, furnished: HostServer) -> None:
    for kind, graph in HABITATS.items():
        result = client.run(graph)
        assert not result.node_errors, kind
        assert result.outputs, kind


def test_every_node_and_reader_is_in_the_corpus(
    client: HostClient, graphs: dict[str, Graph]
) -> None:
    inputs = {
        kind: [name for names in info["input"].values() for name in names]
        for kind, info in client.object_info().items()
        if kind.startswith("PixArt")
    }
    assert inputs.keys() == HABITATS.keys()
    assert len(graphs) >= 300
    # Legacy nodes hand their files to these.
    legacy = {kind for kind in inputs if kind.startswith("PixArtLegacy")}
    assert READERS.keys() == {kind for kind, names in inputs.items() if "file" in names} - legacy
    if not ACCEPT:
        assert graphs.keys() == KNOWN.keys()


def outcome_of(client: HostClient, graph: Graph) -> list[str]:
    """Run a graph; return what became of it, and the key of the error."""
    try:
        result = client.run(graph)
    except Rejected as refusal:
        return ["refused", faults_of(refusal)]
    except ExecutionFailed as failure:
        clear = ours(failure.message) or PACK not in failure.traceback
        return ["failed" if clear else "no sentence", key_of(failure.message)]
    return ["partly refused" if result.node_errors else "drawn", ""]


def faults_of(refusal: Rejected) -> str:
    """Return what the host has against a graph: kinds of faults, and the inputs they are in."""
    faults = {
        f"{fault['type']} {fault.get('extra_info', {}).get('input_name', '')}".strip()
        for node in refusal.body.get("node_errors", {}).values()
        for fault in node["errors"]
    }
    return ", ".join(sorted(faults)) or str(refusal.body["error"]["type"])


def ours(message: str) -> bool:
    return SENTENCE.match(message) is not None


def key_of(message: str) -> str:
    """Return what an error begins with: ours up to its found, the host's up to its colon."""
    sentence = SENTENCE.match(message)
    key = sentence["key"] if sentence else message.partition(":")[0]
    first = re.sub(r"^PixArt\w+: ", "", key.partition("; ")[0])
    return re.sub(r"bad-[\w-]+(\.\w+)?|\d+", "…", first)[:100]


def test_bad_input_gets_what_the_corpus_says(
    client: HostClient,
    furnished: HostServer,
    graphs: dict[str, Graph],
    good: Iterator[tuple[Graph, bytes]],
) -> None:
    found, pictures = {}, 0
    for name, graph in graphs.items():
        read = len(furnished.log_text())
        place_table(name, furnished.base / "user")
        try:
            found[name] = outcome_of(client, graph)
        finally:
            place_table("", furnished.base / "user")
        said = furnished.log_text()[read:]
        assert "Exception in" not in said, (name, said)
        ended = found[name][0]
        if sum(what == ended for what, _ in found.values()) % SELDOM.get(ended, 1) == 0:
            graph_again, wanted = next(good)
            assert picture_of(client, graph_again) == wanted, name
            pictures += 1
    sys.stdout.write(f"{len(found)} cases, {pictures} good pictures between them\n")
    assert furnished.running()
    assert not WITNESS.exists()
    if ACCEPT:
        text = json.dumps(found, indent=0, ensure_ascii=False, sort_keys=True) + "\n"
        EXPECTED.write_text(text, encoding="utf-8")
    assert "no sentence" not in {what for what, _ in found.values()}
    wrong = {
        name: (KNOWN.get(name), what)
        for name, what in found.items()
        if not is_as_known(what, KNOWN.get(name))
    }
    assert not wrong or ACCEPT, wrong
