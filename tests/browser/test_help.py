"""The help panel shows our page for a node."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from ..host.graphs import text_to_image
from .test_said import open_graph


def test_the_panel_shows_the_page_with_its_picture(editor: Page, tmp_path: Path) -> None:
    open_graph(editor, text_to_image())
    editor.evaluate(
        """() => { const n = app.graph._nodes.find(n => n.type === 'PixArtSampler');
            app.canvas.centerOnNode(n); app.canvas.selectNodes([n]); }"""
    )
    editor.get_by_test_id("info-button").click(timeout=20_000)
    panel = editor.locator(".node-help-content")
    panel.get_by_text("When not to use it").wait_for(timeout=20_000)
    editor.wait_for_function(
        "[...document.querySelectorAll('.node-help-content img')].some(i => i.naturalWidth > 80)"
    )
    editor.screenshot(path=tmp_path / "help.png")
