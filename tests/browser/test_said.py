"""What a node says of its work stands under it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from ..host.graphs import text_to_image


def open_graph(editor: Page, graph: dict[str, Any]) -> None:
    """Open a graph in API form, as a file dropped on the editor is."""
    editor.evaluate("graph => window.app.loadApiJson(graph, 'test.json')", graph)
    editor.wait_for_function("window.app.graph._nodes.length > 5")


def said_by(editor: Page, title: str) -> str:
    """Run the graph and return the text under a node, when it has come."""
    query = (
        "title => window.app.graph._nodes.find(n => n.title === title)"
        "?.widgets?.find(w => w.name === 'pixart_said')?.value"
    )
    text: str = editor.wait_for_function(query, arg=title, timeout=60_000).json_value()
    return text


def test_the_node_shows_the_count_and_the_words_that_were_cut(editor: Page, tmp_path: Path) -> None:
    text = "a red circle " + " ".join(f"word{i}" for i in range(100))
    open_graph(editor, text_to_image(positive={"text": text}, PixArtSampler={"steps": 1}))
    editor.keyboard.press(".")  # shows the whole graph
    editor.evaluate("window.app.queuePrompt(0)")
    notice = said_by(editor, "Prompt")
    editor.screenshot(path=tmp_path / "said.png")
    assert notice.startswith("120 of 120 tokens. Cut: word")
    assert notice.endswith("word98 word99")
    assert "alpha-256" in said_by(editor, "Load PixArt Model")
    visible = editor.locator("textarea").evaluate_all("all => all.map(one => one.value)")
    assert notice in visible
    saved = json.dumps(editor.evaluate("window.app.graph.serialize()"))
    assert "Cut: word" not in saved
    sent = editor.evaluate("window.app.graphToPrompt().then(both => both.output)")
    assert "pixart_said" not in json.dumps(sent)
