"""The templates: up to date, whole, and each runs with the demo's files."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from demo.scenes import Scene, draw
from devtools.client import HostClient
from devtools.server import HostServer
from devtools.templates.graph import Template
from devtools.templates.sources import TEMPLATES
from devtools.templates.standins import SIDE, with_standins
from devtools.templates.writing import WORKFLOWS, written
from pixart_core.network.hed import Hed

from .older_hosts import need_outputs_of_save_image
from .test_prompt_nodes import saved_name

ALL = [make() for make in TEMPLATES]
named = pytest.mark.parametrize("template", ALL, ids=lambda template: template.name)


@pytest.fixture(scope="module")
def info(client: HostClient) -> dict[str, Any]:
    return client.object_info()


def editor_file(template: Template) -> dict[str, Any]:
    text = (WORKFLOWS / f"{template.name}.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def test_both_forms_are_up_to_date(info: dict[str, Any]) -> None:
    """`python dev.py templates` writes them."""
    contents = written(info)
    kept = {path: (WORKFLOWS / path).read_text(encoding="utf-8") for path in contents}
    api = [path for path in contents if path.startswith("api/")]
    assert [kept[path] for path in api] == [contents[path] for path in api]
    need_outputs_of_save_image()
    assert kept == contents


def test_there_is_nothing_else() -> None:
    names = {template.name for template in ALL}
    assert {path.stem for path in WORKFLOWS.glob("*.json")} == names
    kept = {"text_to_image", "train_lora"}
    assert {path.stem for path in (WORKFLOWS / "api").glob("*.json")} == names | kept


@pytest.fixture(scope="module")
def props(
    server: HostServer, client: HostClient, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Any]:
    """What the templates name beside the models: pictures, saved prompts, LoRA, ControlNet."""
    folder = server.base / "input"
    draw(Scene("circle", "red", "blue"), 192, 128).convert("RGBA").save(folder / "example.png")
    torch.manual_seed(0)
    hed = {key: value.half() for key, value in Hed().state_dict().items()}
    save_file(hed, server.base / "models" / "controlnet" / "hed-of-templates.safetensors")
    graph = with_standins(next(t for t in ALL if t.name == "demo_model").api())
    texts = {"prompt": "a red circle", "negative": ""}
    prompt = next(n for n in graph.values() if n["class_type"] == "PixArtTextEncode")
    saved = {}
    for name, text in texts.items():
        node = {"class_type": "PixArtTextEncode", "inputs": {**prompt["inputs"], "text": text}}
        save = {"conditioning": ["x", 0], "name": f"template-{name}"}
        kept = {i: n for i, n in graph.items() if "Loader" in n["class_type"]}
        last = {"class_type": "PixArtSaveConditioning", "inputs": save}
        result = client.run({**kept, "x": node, "y": last})
        saved[name] = saved_name(result, "y")
    return {
        ("PixArtLora", "file"): "random.safetensors",
        ("PixArtControlNetLoader", "file"): "random-control.safetensors",
        ("PixArtHED", "file"): "hed-of-templates.safetensors",
        ("PixArtSampler", "steps"): 2,
        ("PixArtLoadConditioning", "file"): saved["prompt"],
    }


@named
def test_a_template_draws(
    client: HostClient, props: dict[tuple[str, str], Any], template: Template
) -> None:
    graph = with_standins(template.api(), props)
    result = client.run(graph)
    saved = [node for node in graph.values() if node["class_type"] == "SaveImage"]
    pictures = [Image.open(io.BytesIO(client.image(image))) for image in result.images()]
    batch = max(node["inputs"].get("batch_size", 1) for node in graph.values())
    assert len(pictures) == batch * len(saved) > 0
    for picture in pictures:
        assert min(picture.size) >= SIDE
        assert np.asarray(picture, np.float32).std() > 1
    assert not result.node_errors


def boxes(template: Template) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
    title = 30
    for node in editor_file(template)["nodes"]:
        (x, y), (width, height) = node["pos"], node["size"]
        yield str(node["id"]), (x, y - title, x + width, y + height)


@named
def test_nothing_overlaps(template: Template) -> None:
    for (_, a), (_, b) in itertools.combinations(boxes(template), 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@named
def test_links_and_files_are_whole(template: Template, info: dict[str, Any]) -> None:
    content = editor_file(template)
    nodes = {node["id"]: node for node in content["nodes"]}
    for number, origin, slot, target, end, kind in content["links"]:
        assert number in nodes[origin]["outputs"][slot]["links"]
        assert nodes[target]["inputs"][end]["link"] == number
        assert nodes[origin]["outputs"][slot]["type"] == kind
    for node in content["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        module = info[node["type"]]["python_module"]
        assert module.startswith(("nodes", "comfy_extras.", "custom_nodes.ComfyUI-PixArt"))
        assert not info[node["type"]].get("deprecated")
        about = node["properties"]
        assert about.get("ver") or about["cnr_id"] == "comfy-core"
        for model in about.get("models", ()):
            assert model["name"] in node["widgets_values"]
            assert model["url"].startswith("https://huggingface.co/")
    text = json.dumps(content)
    assert "\\\\" not in text
    loads = [n for n in content["nodes"] if n["type"] == "PixArtModelLoader"]
    demo = template.name == "demo_model"
    assert all(bool(node["properties"].get("models")) is not demo for node in loads)
    assert all((node["widgets_values"][1] == "auto") is demo for node in loads)
