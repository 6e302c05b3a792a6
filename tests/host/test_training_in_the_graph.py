"""The host's own training node on our model, and what it saves on both loaders."""

from __future__ import annotations

import io
import shutil
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from demo.scenes import COLOURS, SHAPES, Scene, draw
from devtools.client import HostClient
from devtools.server import HostServer
from devtools.teach import TESTED, Lesson, draw_cross, shows_it, training_graph, write_lesson

from .graphs import Graph, node, text_to_image

SMALL = {"width": 128, "height": 128, "batch_size": 1}


def training(picture: str, prefix: str, **settings: Any) -> Graph:
    """A graph that trains a LoRA on one picture and saves it."""
    graph = {i: n for i, n in text_to_image().items() if i in ("1", "2", "3", "7")}
    graph["20"] = node("LoadImage", image=picture)
    graph["21"] = node("VAEEncode", pixels=["20", 0], vae=["7", 0])
    values = {
        **{"batch_size": 1, "grad_accumulation_steps": 1, "steps": 3, "learning_rate": 0.01},
        **{"rank": 2, "optimizer": "AdamW", "loss_function": "MSE", "seed": 3},
        **{"training_dtype": "fp32", "lora_dtype": "fp32", "quantized_backward": False},
        **{"algorithm": "LoRA", "gradient_checkpointing": True, "checkpoint_depth": 1},
        **{"offloading": False, "existing_lora": "[None]", "bucket_mode": False},
        **{"bypass_mode": False, **settings},
    }
    links = {"model": ["1", 0], "latents": ["21", 0], "positive": ["3", 0]}
    graph["30"] = node("TrainLoraNode", **links, **values)
    graph["31"] = node("SaveLoRA", lora=["30", 0], prefix=prefix, steps=["30", 2])
    return graph


def pixels(client: HostClient, graph: Graph) -> np.ndarray:
    (image,) = client.run(graph).images()
    return np.asarray(Image.open(io.BytesIO(client.image(image))).convert("RGB"), np.float32)


@pytest.mark.parametrize(
    "settings",
    [{}, {"checkpoint_depth": 2}, {"gradient_checkpointing": False, "algorithm": "LoKr"}],
    ids=["whole", "blocks", "LoKr"],
)
@pytest.mark.acts("TrainLoraNode", "SaveLoRA", "LoraLoaderModelOnly")
def test_what_the_host_trains_is_a_lora_of_ours(
    server: HostServer, client: HostClient, settings: dict[str, Any]
) -> None:
    draw(Scene("star", "red", "white"), 128, 128).save(server.base / "input" / "lesson.png")
    prefix = "trained-" + "-".join(map(str, settings.values()))
    client.run(training("lesson.png", prefix, **settings))
    (written,) = (server.base / "output").rglob(f"{prefix}*.safetensors")
    shutil.copy(written, server.base / "models" / "loras" / f"{prefix}.safetensors")

    def drawn(class_type: str, **inputs: Any) -> np.ndarray:
        graph = text_to_image(PixArtResolution=SMALL, PixArtSampler={"steps": 3, "seed": 8})
        graph["50"] = node(class_type, model=["1", 0], **inputs)
        graph["6"]["inputs"]["model"] = ["50", 0]
        return pixels(client, graph)

    ours = drawn("PixArtLora", file=f"{prefix}.safetensors", strength=1.0)
    stock = drawn("LoraLoaderModelOnly", lora_name=f"{prefix}.safetensors", strength_model=1.0)
    none = drawn("PixArtLora", file=f"{prefix}.safetensors", strength=0.0)
    assert np.array_equal(ours, stock)
    assert np.abs(ours - none).mean() > 0.2


def test_the_shipped_graph_trains(server: HostServer, client: HostClient) -> None:
    """Two steps of it; `python dev.py teach` has all, and the bars."""
    folder = server.base / "input" / "lesson"
    folder.mkdir()
    write_lesson(folder)
    assert len(list(folder.glob("*.png"))) == len(list(folder.glob("*.txt"))) == 8
    client.run(training_graph(Lesson(steps=2)))
    (written,) = (server.base / "output").rglob("lesson*.safetensors")
    assert any(value.any() for key, value in load_file(written).items() if "lora_up" in key)


@pytest.mark.parametrize(("colour", "ground"), TESTED)
def test_a_cross_is_told_from_all_else(colour: str, ground: str) -> None:
    assert shows_it(draw_cross(colour, ground), colour, ground)
    assert not shows_it(draw_cross(colour, ground), ground, colour)
    assert not shows_it(Image.new("RGB", (128, 128), COLOURS[ground]), colour, ground)
    for shape in SHAPES:
        assert not shows_it(draw(Scene(shape, colour, ground), 128, 128), colour, ground)
