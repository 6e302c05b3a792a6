"""The host's editor in a browser, greeting nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import requests
from playwright.sync_api import ConsoleMessage, Error, Page, ViewportSize, sync_playwright

from devtools.browser import FLAGS, find_browser

_REGISTRY = "api.comfy.org"
_SIZE = ViewportSize(width=1600, height=900)
_PATIENCE = 60_000
"""Milliseconds that the editor may take to open."""

_READY = "!!window.app?.canvas?.onSelectionChange"
"""What the editor sets last. It shows its Run button before it loads its first graph, which would
take the place of one given to it, and before it hears what is selected."""


@contextmanager
def open_editor(address: str, complain: Callable[[str], None]) -> Iterator[Page]:
    """Open the editor of the host at an address, and give what its console complains of on."""
    setting = f"http://{address}/settings/Comfy.TutorialCompleted"
    requests.post(setting, json=True, timeout=30).raise_for_status()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        page = browser.new_page(viewport=_SIZE)
        page.on("console", _hear(complain))
        page.on("pageerror", _catch(complain))
        page.goto(f"http://{address}")
        page.wait_for_function(_READY, timeout=_PATIENCE)
        page.get_by_role("button", name="Run").first.wait_for(timeout=_PATIENCE)
        yield page
        browser.close()


def of_ours(complaints: Sequence[str]) -> list[str]:
    """Return the complaints that are about the pack.

    The editor asks Comfy's registry whose an unknown node is; that fails where there is no network.
    """
    return [text for text in complaints if "pixart" in text.lower() and _REGISTRY not in text]


def _hear(complain: Callable[[str], None]) -> Callable[[ConsoleMessage], None]:
    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            complain(message.text)

    return hear


def _catch(complain: Callable[[str], None]) -> Callable[[Error], None]:
    def catch(error: Error) -> None:
        complain(str(error))

    return catch
