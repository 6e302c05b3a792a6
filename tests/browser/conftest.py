"""The real editor in a real browser, before a host of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from devtools.editor import of_ours, open_editor
from devtools.models import demo_models
from devtools.server import HostServer
from devtools.templates import files

NAMED_BY_TEMPLATES = (
    *("input/example.png", "models/loras/my-pixart-lora.safetensors"),
    *(f"models/{file.folder}/{file.name}" for file in (files.CONTROLNET, files.HED)),
    *(f"output/prompts/{name}_00001.safetensors" for name in ("prompt", "negative")),
)
"""What the editor looks for when it opens a template, beside the demo's files."""


@pytest.fixture(scope="session")
def editor_host() -> Iterator[HostServer]:
    """A host with the demo model, whose editor greets nobody."""
    with HostServer(demo_models()) as running:
        for path in NAMED_BY_TEMPLATES:
            (running.base / path).parent.mkdir(parents=True, exist_ok=True)
            (running.base / path).touch()
        yield running


@pytest.fixture
def editor(editor_host: HostServer) -> Iterator[Page]:
    """The editor, open and ready; a complaint of ours in its console fails the test."""
    complaints: list[str] = []
    with open_editor(editor_host.address, complaints.append) as page:
        yield page
    assert not of_ours(complaints)
