"""The real editor in a real browser, before a host of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

from devtools.browser import FLAGS, find_browser
from devtools.models import demo_models
from devtools.server import HostServer


@pytest.fixture(scope="session")
def editor_host() -> Iterator[HostServer]:
    """A host with the demo model."""
    with HostServer(demo_models()) as running:
        yield running


@pytest.fixture
def editor(editor_host: HostServer) -> Iterator[Page]:
    """The editor, open and ready; a complaint of ours in its console fails the test."""
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"http://{editor_host.address}")
        page.wait_for_function("window.app?.graph && window.app.ui", timeout=60_000)
        # A first visit is greeted with the templates.
        page.get_by_text("Getting Started").first.wait_for(timeout=60_000)
        page.keyboard.press("Escape")
        yield page
        browser.close()
    assert not [text for text in complaints if "pixart" in text.lower()]
