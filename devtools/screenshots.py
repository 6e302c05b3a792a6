"""``python dev.py screenshots``: take the pictures of the help pages, in the real editor."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from playwright.sync_api import FloatRect, Page

from devtools.client import HostClient
from devtools.editor import of_ours, open_editor
from devtools.environment import ROOT
from devtools.models import demo_models
from devtools.server import HostServer

PAGES = ROOT / "web" / "docs"

_PUT = """async kind => {
    app.graph.clear();
    const node = LiteGraph.createNode(kind);
    node.pos = [420, 180];
    app.graph.add(node);
    for (const widget of node.widgets ?? []) {
        // The editor keeps values by a node's number, and each node here is the first.
        const { values } = widget.options ?? {};
        const choices = typeof values === "function" ? values() : values;
        if (Array.isArray(choices) && !choices.includes(widget.value)) {
            widget.value = choices[0] ?? "";
        }
    }
    app.canvas.deselectAll();
    Object.assign(app.canvas.ds, { scale: 1, offset: [0, 0] });
    app.canvas.setDirty(true, true);
    await new Promise(done => setTimeout(done, 1500));
    const [x, y, width, height] = node.getBounding();
    const canvas = app.canvas.canvas.getBoundingClientRect();
    return { x: x + canvas.x, y: y + canvas.y, width, height };
}"""
_MARGIN = 12


def main(arguments: list[str]) -> int:
    """Write a picture beside each help page and print its path."""
    argparse.ArgumentParser(prog="dev.py screenshots", description=__doc__).parse_args(arguments)
    complaints: list[str] = []
    with (
        HostServer(demo_models()) as server,
        open_editor(server.address, complaints.append) as page,
    ):
        for kind in documented(HostClient(server.address)):
            path = PAGES / f"{kind}.png"
            _take(page, kind, path)
            print(path)
    for complaint in of_ours(complaints):
        print(complaint, file=sys.stderr)
    return int(bool(of_ours(complaints)))


def documented(client: HostClient) -> list[str]:
    """Return the ids of the pack's nodes that the menu shows."""
    return sorted(k for k, node in client.object_info().items() if node["category"] == "PixArt")


def _take(page: Page, kind: str, path: Path) -> None:
    box = page.evaluate(_PUT, kind)
    clip = FloatRect(
        x=box["x"] - _MARGIN,
        y=box["y"] - _MARGIN,
        width=box["width"] + 2 * _MARGIN,
        height=box["height"] + 2 * _MARGIN,
    )
    page.screenshot(path=path, clip=clip)
