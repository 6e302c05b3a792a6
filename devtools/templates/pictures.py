"""``python dev.py pictures``: the pictures of README, registry and template browser.

All are drawn by the demo model, the templates' by themselves with the demo's files in them.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from devtools.client import HostClient
from devtools.drawing import Artist
from devtools.environment import ROOT
from devtools.models import CONTROLNET, DEMO_FOLDER, demo_models
from devtools.server import HostServer

from . import files
from .graph import Template
from .shown import SHOWN, Shown
from .sources import TEMPLATES
from .standins import Graph, with_standins
from .writing import WORKFLOWS

_HEIGHT, _GAP, _QUALITY = 256, 6, 88
_LOADED = "example.png"
"""What the templates with a picture load."""
_BYPASSED = {"PixArtLora": "model", "PixArtHED": "image"}
"""Nodes that the demo has no file for, with the input that stands in for their output."""
_README = (
    "a red circle on a blue background",
    "a yellow square on a purple background",
    "a white triangle on a green background",
    "a black star on an orange background",
    "a small green circle on a white background, on the left",
    "a large blue square on a yellow background",
)
_ICON, _ICON_SEED, _ICON_SIDE = "a yellow star on a purple background", 3, 400
_BANNER_PART = {"width": 224, "height": 288}
"""A bucket; three of them are as wide as the registry wants, 21 : 9."""
_BANNER = tuple(
    f"{thing} on a yellow background"
    for thing in ("a red circle", "a blue star", "a green triangle")
)


def main(arguments: list[str]) -> int:
    """Draw all of them and print their paths."""
    argparse.ArgumentParser(prog="dev.py pictures", description=__doc__).parse_args(arguments)
    models = {**demo_models(), "controlnet": [DEMO_FOLDER / CONTROLNET]}
    with HostServer(models) as server:
        client = HostClient(server.address)
        for path in (*_own(client), *(_template(server, client, make()) for make in TEMPLATES)):
            print(path)
    return 0


def _own(client: HostClient) -> list[Path]:
    """Draw those of README and registry."""
    artist, docs = Artist(client), ROOT / "docs"
    square = {"width": 256, "height": 256}
    row = [artist.draw(prompt=text, seed=seed, **square)[0] for seed, text in enumerate(_README)]
    side_by_side(row, 0).save(docs / "demo.png", optimize=True)
    (icon,) = artist.draw(prompt=_ICON, seed=_ICON_SEED, **square)
    icon.resize((_ICON_SIDE,) * 2, Image.Resampling.LANCZOS).save(docs / "icon.png", optimize=True)
    parts = [artist.draw(prompt=text, seed=0, **_BANNER_PART)[0] for text in _BANNER]
    side_by_side(parts, 0).save(docs / "banner.png", optimize=True)
    return [docs / name for name in ("demo.png", "icon.png", "banner.png")]


def _template(server: HostServer, client: HostClient, template: Template) -> Path:
    shown = SHOWN[template.name]
    pictures = []
    if shown.begins_with is not None:
        pictures.append(shown.begins_with())
        pictures[0].save(server.base / "input" / _LOADED)
    needs_files = any(node.kind == "PixArtLoadConditioning" for node in template.nodes)
    graph = graph_of(template, shown, _saved_prompts(client, shown) if needs_files else {})
    result = client.run(graph)
    pictures += [Image.open(io.BytesIO(client.image(image))) for image in result.images()]
    path = WORKFLOWS / f"{template.name}.jpg"
    side_by_side([_on_grey(picture) for picture in pictures], _GAP).save(path, quality=_QUALITY)
    return path


def graph_of(template: Template, shown: Shown, saved: Mapping[str, str]) -> Graph:
    """Return a template's graph for the demo model; ``saved`` names prompt files by title."""
    always = {
        ("PixArtSampler", "steps"): 20,
        ("PixArtSampler", "guidance"): 4.5,
        ("PixArtControlNetLoader", "file"): CONTROLNET,
        ("LoadImage", "image"): _LOADED,
        ("PixArtStyle", "prompt"): shown.prompts["Prompt"],
        ("PixArtStyle", "negative"): "",
    }
    kept = {key: value for key, value in always.items() if key not in shown.settings}
    if template.name == "compare_solvers":
        kept.pop(("PixArtSampler", "steps"))
    graph = with_standins(template.api(), {**kept, **shown.settings})
    for node in graph.values():
        title, inputs = node["_meta"]["title"], node["inputs"]
        if node["class_type"] == "PixArtTextEncode" and isinstance(inputs["text"], str):
            inputs["text"] = shown.prompts.get(title, "")
        if node["class_type"] == "PixArtLoadConditioning":
            inputs["file"] = saved[title]
    return _without_bypassed(graph)


def _without_bypassed(graph: Graph) -> Graph:
    gone = {i: node for i, node in graph.items() if node["class_type"] in _BYPASSED}
    kept = {i: node for i, node in graph.items() if i not in gone}
    for node in kept.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list) and value[0] in gone:
                instead = gone[value[0]]
                node["inputs"][name] = instead["inputs"][_BYPASSED[instead["class_type"]]]
    return kept


def _saved_prompts(client: HostClient, shown: Shown) -> dict[str, str]:
    """Save the prompt and an empty negative, and return their files by title."""
    saved = {}
    for title, text in (("Prompt", shown.prompts["Prompt"]), ("Negative prompt", "")):
        graph = {
            "model": _node(
                "PixArtModelLoader", file=files.DEMO_MODEL, variant="auto", weight_dtype="auto"
            ),
            "t5": _node("PixArtT5Loader", file=files.DEMO_T5, precision="auto", device="auto"),
            "text": _node(
                "PixArtTextEncode", clip=["t5", 0], text=text, cleaning="auto", model=["model", 0]
            ),
            "saved": _node("PixArtSaveConditioning", conditioning=["text", 0], name="shown"),
        }
        said = str(client.run(graph).outputs["saved"]["text"][0])
        saved[title] = said.removeprefix("Saved as ")
    return saved


def side_by_side(pictures: Sequence[Image.Image], gap: int) -> Image.Image:
    """Return pictures in a row, at the height of the thumbnails."""
    scaled = [p.resize((round(p.width * _HEIGHT / p.height), _HEIGHT)) for p in pictures]
    width = sum(picture.width for picture in scaled) + gap * (len(scaled) - 1)
    row = Image.new("RGB", (width, _HEIGHT), "white")
    left = 0
    for picture in scaled:
        row.paste(picture, (left, 0))
        left += picture.width + gap
    return row


def _on_grey(picture: Image.Image) -> Image.Image:
    """Show what is masked in grey."""
    ground = Image.new("RGBA", picture.size, (128, 128, 128, 255))
    return Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB")


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}
