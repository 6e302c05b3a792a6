"""``python dev.py control``: how well the demo's ControlNet makes the model follow edges.

32 prompts with edges of a shape anywhere in the picture: how much of the drawn object and of the
shape is common to both (intersection over union), with the ControlNet and at strength 0.
"""

from __future__ import annotations

import argparse
import io
import random
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from demo.judge import Outline
from demo.scenes import COLOURS, Scene, random_scene
from demo.train_controlnet import draw_edges, draw_filled, random_outline
from devtools.client import HostClient
from devtools.contact_sheet import contact_sheet
from devtools.demo import WORKFLOW
from devtools.models import CONTROLNET, DEMO_FOLDER, demo_models
from devtools.server import HostServer
from devtools.workflow import Workflow

PROMPTS = 32
_LEAST = 0.8
_MOST_WITHOUT = 0.4
_SIDE = 128


@dataclass(frozen=True)
class Task:
    """A prompt, and the outline that its picture should follow."""

    scene: Scene
    outline: Outline
    seed: int


def main(arguments: list[str]) -> int:
    """Draw each prompt twice, print the overlaps, and return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        prog="dev.py control",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the contact sheet")
    parser.add_argument("--file", type=Path, default=DEMO_FOLDER / CONTROLNET)
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    models = {**demo_models(), "controlnet": [chosen.file]}
    with HostServer(models) as server:
        client = HostClient(server.address)
        drawn = {
            strength: [
                draw(server, client, chosen.file.name, task, strength)
                for task in tqdm(tasks(), desc=f"strength {strength}", unit="prompt")
            ]
            for strength in (1.0, 0.0)
        }
    overlaps = {
        strength: [overlap(p, task) for p, task in zip(pictures, tasks(), strict=True)]
        for strength, pictures in drawn.items()
    }
    _sheet(drawn, overlaps).save(chosen.out / "control.png")
    print(f"contact sheet: {chosen.out / 'control.png'}\n")
    print(f"{'strength':>8} {'prompts':>8} {'mean overlap':>13} {'least':>7}")
    for strength, found in overlaps.items():
        print(f"{strength:>8} {len(found):>8} {mean(found):>13.3f} {min(found):>7.3f}")
    print(f"at least {_LEAST} with it, at most {_MOST_WITHOUT} without")
    return int(mean(overlaps[1.0]) < _LEAST or mean(overlaps[0.0]) > _MOST_WITHOUT)


def tasks() -> list[Task]:
    """Return the fixed list."""
    rng = random.Random("control")
    return [_task(rng, seed) for seed in range(PROMPTS)]


def _task(rng: random.Random, seed: int) -> Task:
    scene = random_scene(rng)
    outline = random_outline(rng, scene.shape)
    return Task(Scene(scene.shape, scene.colour, scene.ground), outline, seed)


def overlap(picture: Image.Image, task: Task) -> float:
    """Return intersection over union of what has the object's colour and of the outline's inside.

    A pixel belongs to the object where it is nearer to the object's named colour than to the
    ground's.
    """
    pixels = np.asarray(picture.convert("RGB"), np.float32)
    near = [
        np.linalg.norm(pixels - np.array(COLOURS[name], np.float32), axis=-1)
        for name in (task.scene.colour, task.scene.ground)
    ]
    found = near[0] < near[1]
    wanted = inside_of(task.outline, picture.width)
    return float((found & wanted).sum() / max((found | wanted).sum(), 1))


def inside_of(outline: Outline, side: int) -> NDArray[np.bool_]:
    """Return which pixels an outline encloses."""
    filled = draw_filled(outline, "white", "black", side)
    return np.asarray(filled.convert("L")) > 127


def draw(
    server: HostServer, client: HostClient, file: str, task: Task, strength: float
) -> Image.Image:
    """Return the picture of a task with the ControlNet of a file."""
    name = f"edges-{task.seed}.png"
    draw_edges(task.outline, _SIDE).save(server.base / "input" / name)
    (image,) = client.run(_graph(task, file, name, strength)).images()
    return Image.open(io.BytesIO(client.image(image))).convert("RGB")


def _graph(task: Task, file: str, edges: str, strength: float) -> dict[str, dict[str, Any]]:
    """Return the shipped graph with the host's ControlNet nodes between prompts and sampler."""
    workflow = Workflow(WORKFLOW)
    sampler, vae = workflow.node_id("PixArtSampler"), workflow.node_id("VAELoader")
    size = workflow.node_id("PixArtResolution")
    prompt = workflow.node_id("PixArtTextEncode", ("PixArtSampler", "positive"))
    graph = workflow.with_values(
        {
            (prompt, "text"): task.scene.caption(),
            (sampler, "seed"): task.seed,
            **{(size, side): _SIDE for side in ("width", "height")},
        }
    )
    given = graph[sampler]["inputs"]
    graph["edges"] = {"class_type": "LoadImage", "inputs": {"image": edges}}
    graph["net"] = {"class_type": "PixArtControlNetLoader", "inputs": {"file": file}}
    graph["apply"] = {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {
            **{"positive": given["positive"], "negative": given["negative"]},
            **{"control_net": ["net", 0], "image": ["edges", 0], "vae": [vae, 0]},
            **{"strength": strength, "start_percent": 0.0, "end_percent": 1.0},
        },
    }
    given |= {"positive": ["apply", 0], "negative": ["apply", 1]}
    return graph


def _sheet(
    drawn: dict[float, list[Image.Image]], overlaps: dict[float, list[float]]
) -> Image.Image:
    edges = [(draw_edges(task.outline, _SIDE), None) for task in tasks()]
    rows: list[tuple[Image.Image, bool | None]] = []
    for index, edge in enumerate(edges):
        rows.append(edge)
        for strength, pictures in drawn.items():
            good = overlaps[strength][index] >= _LEAST if strength else None
            rows.append((pictures[index], good))
    return contact_sheet(rows)
