"""The real editor in a real browser, before a host of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Page, sync_playwright

from devtools.browser import FLAGS, find_browser
from devtools.models import demo_models
from devtools.server import HostServer

_REGISTRY = "api.comfy.org"


@pytest.fixture(scope="session")
def editor_host() -> Iterator[HostServer]:
    """A host with the demo model, whose editor greets nobody."""
    with HostServer(demo_models()) as running:
        setting = f"http://{running.address}/settings/Comfy.TutorialCompleted"
        requests.post(setting, json=True, timeout=30).raise_for_status()
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
        page.get_by_role("button", name="Run").first.wait_for(timeout=60_000)
        yield page
        browser.close()
    # The editor asks Comfy's registry whose an unknown node is; no test leaves this machine.
    ours = [text for text in complaints if "pixart" in text.lower() and _REGISTRY not in text]
    assert not ours
