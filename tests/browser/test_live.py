"""What stands under the nodes while a graph is being made: file, tokens, shape."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page

from devtools.server import HostServer

from ..host.conftest import DEMO
from ..host.graphs import text_to_image
from .test_said import open_graph

MODEL = DEMO["diffusion_models"].name
TEXT_OF = """([title, name]) => app.graph._nodes.find(n => n.title === title)
    ?.widgets?.find(w => w.name === name)?.element?.textContent"""
SET = """([title, name, value]) => {
    const node = app.graph._nodes.find(n => n.title === title);
    const widget = node.widgets.find(w => w.name === name);
    widget.value = value;
    widget.callback?.(value);
}"""


@pytest.fixture(params=[False, True], ids=["canvas", "vue"])
def opened(request: pytest.FixtureRequest, editor: Page) -> Iterator[Page]:
    """The text-to-image graph, in either of the editor's two ways to draw nodes."""
    setting = "app.ui.settings.setSettingValueAsync('Comfy.VueNodes.Enabled', {})"
    editor.evaluate(setting.format(str(request.param).lower()))
    open_graph(editor, text_to_image())
    editor.keyboard.press(".")
    yield editor
    editor.evaluate(setting.format("false"))


def shown(editor: Page, title: str, name: str, wanted: str) -> str:
    """The text of a widget, once it has ``wanted`` in it."""
    query = f"given => {{ const t = ({TEXT_OF})(given); return t?.includes(given[2]) && t; }}"
    text: str = editor.wait_for_function(
        query, arg=[title, name, wanted], timeout=20_000
    ).json_value()
    return text


def test_the_loader_says_what_the_file_is(opened: Page, tmp_path: Path) -> None:
    line = shown(opened, "Load PixArt Model", "pixart_file", "alpha-256")
    assert line.startswith("alpha-256 · 256 px · 120 tokens")
    opened.screenshot(path=tmp_path / "file.png")
    opened.evaluate(SET, ["Load PixArt Model", "variant", "sigma-256"])
    query = f"given => ({TEXT_OF})(given) === ''"
    opened.wait_for_function(query, arg=["Load PixArt Model", "pixart_file"])


def test_the_prompt_counts_its_tokens(opened: Page, tmp_path: Path) -> None:
    opened.evaluate(SET, ["Prompt", "text", "a red circle"])
    assert shown(opened, "Prompt", "pixart_tokens", "5 / 120").strip() == "5 / 120 tokens"
    many = "a red circle " + " ".join(f"word{i}" for i in range(100))
    opened.evaluate(SET, ["Prompt", "text", many])
    line = shown(opened, "Prompt", "pixart_tokens", "word99")
    assert line.split()[1:4] == ["/", "120", "tokens"]
    assert int(line.split()[0]) > 120
    assert "word98 word99" in line
    opened.screenshot(path=tmp_path / "tokens.png")


def test_the_resolution_draws_its_shape(opened: Page, tmp_path: Path) -> None:
    for name, value in (("sizing", "aspect ratio"), ("aspect", "16:9 landscape · 1344 × 768")):
        opened.evaluate(SET, ["PixArt Resolution", name, value])
    assert shown(opened, "PixArt Resolution", "pixart_shape", "1344 × 768") == "1344 × 768"
    sides = opened.evaluate(
        """() => { const s = app.graph._nodes.find(n => n.type === 'PixArtResolution')
            .widgets.find(w => w.name === 'pixart_shape').element.firstChild.style;
            return [s.width, s.height]; }"""
    )
    assert sides == ["64px", "37px"]
    opened.evaluate(SET, ["PixArt Resolution", "swap", True])
    assert shown(opened, "PixArt Resolution", "pixart_shape", "768 × 1344") == "768 × 1344"
    opened.screenshot(path=tmp_path / "shape.png")


def test_none_of_it_is_sent_or_saved(opened: Page) -> None:
    shown(opened, "Load PixArt Model", "pixart_file", "alpha-256")
    shown(opened, "Prompt", "pixart_tokens", "tokens")
    sent = opened.evaluate("app.graphToPrompt().then(both => both.output)")
    assert "pixart_" not in json.dumps(sent)
    for number, node in text_to_image().items():
        assert set(node["inputs"]) <= set(sent[number]["inputs"])
    saved = opened.evaluate("app.graph.serialize()")
    assert "tokens" not in json.dumps([node.get("widgets_values") for node in saved["nodes"]])


def test_tokens_are_counted_in_no_time(editor_host: HostServer) -> None:
    asked = {"text": "a red circle, " * 60, "cleaning": "auto", "file": MODEL}
    seconds = []
    for turn in range(20):
        began = time.perf_counter()
        answer = requests.post(
            f"http://{editor_host.address}/pixart/tokens", json=asked, timeout=30
        )
        if turn:  # the first one loads the tokenizer
            seconds.append(time.perf_counter() - began)
    assert answer.json()["limit"] == 120
    assert statistics.median(seconds) < 0.05


SIZE = {"sizing": "exact size", "aspect": "1:1", "table": "auto", "ratios": "all", "swap": False}


@pytest.mark.parametrize(
    "asked",
    [
        *({}, {"file": "none.pth"}, [], {"file": 3}),
        *({"file": "../../../../etc/passwd"}, {"file": "/etc/passwd"}),
        {**SIZE, "width": 10**400, "height": 10**400},
    ],
)
def test_a_bad_question_is_answered_with_a_sentence(editor_host: HostServer, asked: Any) -> None:
    for route in ("model", "tokens", "size"):
        address = f"http://{editor_host.address}/pixart/{route}"
        answer = requests.post(address, json=asked, timeout=30)
        assert answer.status_code == 400
        assert answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"), [(b"[" * 100_000, 400), (b'{"text": "' + b"x" * 10**6 + b'"}', 413)]
)
def test_a_question_is_of_modest_size(editor_host: HostServer, body: bytes, status: int) -> None:
    for route in ("model", "tokens", "size"):
        address = f"http://{editor_host.address}/pixart/{route}"
        assert requests.post(address, data=body, timeout=30).status_code == status
    assert editor_host.running()
