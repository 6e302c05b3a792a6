"""Every template opens in the real editor, and the app is an app."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from devtools.freeze import NODES as NODES_FILE
from devtools.freeze import releases
from devtools.templates.sources import TEMPLATES
from devtools.templates.standins import opened_with_standins
from devtools.templates.writing import WORKFLOWS

NAMES = [make().name for make in TEMPLATES]
APP = "PixArt.app"
PACK = "ComfyUI-PixArt"
FILES = ("file", "variant", "vae_name", "image")
"""Inputs that name files, which are not those of the template here."""

RELEASED = [
    path
    for folder in releases()
    for path in sorted(folder.glob("*.json"))
    if path.name != NODES_FILE
]

LOOK = """() => ({
    kinds: app.graph._nodes.map(n => n.type),
    missing: app.graph._nodes.filter(n => n.has_errors || !LiteGraph.registered_node_types[n.type])
        .map(n => n.type),
    boxes: app.graph._nodes.map(n => [n.title, ...n.getBounding()]),
})"""


def content_of(name: str) -> dict[str, Any]:
    text = (WORKFLOWS / f"{name}.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def open_template(editor: Page, name: str, content: dict[str, Any]) -> None:
    editor.evaluate("([w, name]) => app.loadGraphData(w, true, true, name)", [content, name])
    editor.wait_for_function("n => app.graph._nodes.length === n", arg=len(content["nodes"]))


def test_the_template_browser_lists_them(editor: Page) -> None:
    listed = editor.evaluate("fetch('/api/workflow_templates').then(answer => answer.json())")
    assert sorted(listed[PACK]) == sorted(NAMES)
    for name in NAMES:
        path = f"/api/workflow_templates/{PACK}/{name}.json"
        assert editor.evaluate("path => fetch(path).then(a => a.status)", path) == 200


@pytest.mark.parametrize("name", NAMES)
def test_a_template_opens(editor: Page, tmp_path: Path, name: str) -> None:
    content = opened_with_standins(content_of(name))
    content["extra"] = {}
    open_template(editor, name, content)
    editor.wait_for_timeout(500)
    editor.screenshot(path=tmp_path / f"{name}.png")
    seen = editor.evaluate(LOOK)
    assert seen["missing"] == []
    boxes = seen["boxes"]
    for i, (title, x, y, width, height) in enumerate(boxes):
        for other, left, top, wide, high in boxes[i + 1 :]:
            apart = x + width <= left or left + wide <= x or y + height <= top or top + high <= y
            assert apart, f"{title} lies on {other}"
    sent = editor.evaluate("app.graphToPrompt().then(both => both.output)")
    told = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))
    for number, node in told.items():
        inputs = sent[number]["inputs"]
        for key, value in node["inputs"].items():
            if key not in FILES:
                assert inputs[key] == value, f"{number}.{key}"


def test_what_releases_saved_opens(editor: Page) -> None:
    assert RELEASED
    for path in RELEASED:
        # What is still a template was opened as one.
        if path.read_bytes() != (WORKFLOWS / path.name).read_bytes():
            assert_opens_as_it_was(editor, path)


def assert_opens_as_it_was(editor: Page, path: Path) -> None:
    content = opened_with_standins(json.loads(path.read_text(encoding="utf-8")))
    content["extra"] = {}
    open_template(editor, path.stem, content)
    assert editor.evaluate(LOOK)["missing"] == []
    sent = editor.evaluate("app.graphToPrompt().then(both => both.output)")
    told = json.loads((path.parent / "api" / path.name).read_text(encoding="utf-8"))
    for number, node in told.items():
        values = {k: v for k, v in node["inputs"].items() if k not in FILES}
        assert {k: sent[number]["inputs"].get(k) for k in values} == values


def test_the_app_draws_what_its_form_says(editor: Page, tmp_path: Path) -> None:
    content = opened_with_standins(content_of(APP))
    open_template(editor, APP, content)
    prompt = editor.get_by_role("textbox").first
    prompt.wait_for(timeout=20_000)
    prompt.fill("a red circle on a blue background")
    editor.screenshot(path=tmp_path / "form.png")
    editor.get_by_role("button", name="Run").first.click()
    editor.wait_for_function("document.querySelector('img[src*=\"/view?\"]')", timeout=120_000)
    editor.wait_for_timeout(1000)
    editor.screenshot(path=tmp_path / "app.png")
    sent = editor.evaluate("app.graphToPrompt().then(both => both.output)")
    style = next(node for node in sent.values() if node["class_type"] == "PixArtStyle")
    assert style["inputs"]["prompt"] == "a red circle on a blue background"
