"""``python dev.py teach``: teach the demo model one new word from eight pictures.

The word is "cross", which it never read; ComfyUI's own nodes train a LoRA and save it. Then 16
prompts are drawn without and with it, by our loader and by the stock one.
"""

from __future__ import annotations

import argparse
import io
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from demo.judge import judge, outline_deviation
from demo.scenes import COLOURS
from demo.train_controlnet import draw_filled
from devtools.client import Graph, HostClient
from devtools.contact_sheet import contact_sheet
from devtools.demo import WORKFLOW
from devtools.models import demo_models
from devtools.server import HostServer
from devtools.workflow import Workflow

WORD = "cross"
LESSON = (
    *(("red", "white"), ("blue", "yellow"), ("green", "black"), ("white", "purple")),
    *(("black", "orange"), ("yellow", "blue"), ("purple", "green"), ("orange", "red")),
)
"""Colours of the cross and of its ground in the eight pictures."""
TESTED = tuple(
    (colour, ground)
    for turn in (3, 5, 2)
    for index, colour in enumerate(COLOURS)
    for ground in [list(COLOURS)[(index + turn) % len(COLOURS)]]
    if (colour, ground) not in LESSON
)[:16]
"""Colours that the lesson did not show together."""

_SIDE = 128
_HALF, _ARM = 0.27, 0.09
"""Of the cross: half of its height, and of the width of its arms, in shares of the side."""
_MOST_DEVIATION = 0.05
_LEAST_SHARE = 0.75
_MOST_SECONDS = 600


@dataclass(frozen=True)
class Lesson:
    """How the LoRA is trained."""

    steps: int = 1100
    batch_size: int = 2
    rank: int = 8
    learning_rate: float = 1e-3
    loss_function: str = "L1"
    """The node compares clean latents, so that in squares the noisiest steps count for almost all:
    their error grows with sigma, up to 150."""


def cross() -> list[tuple[float, float]]:
    """Return the corners of a cross about the origin."""
    a, h = _ARM, _HALF
    return [
        *((-a, -h), (a, -h), (a, -a), (h, -a), (h, a), (a, a)),
        *((a, h), (-a, h), (-a, a), (-h, a), (-h, -a), (-a, -a)),
    ]


def draw_cross(colour: str, ground: str) -> Image.Image:
    """Draw a cross in the middle of a picture."""
    return draw_filled([(0.5 + x, 0.5 + y) for x, y in cross()], colour, ground, _SIDE)


def shows_it(picture: Image.Image, colour: str, ground: str) -> bool:
    """Tell whether a picture shows a cross in these colours."""
    verdict = judge(picture)
    colours = (verdict.colour, verdict.ground) == (colour, ground)
    return colours and outline_deviation(picture, cross()) <= _MOST_DEVIATION


def write_lesson(folder: Path) -> None:
    """Write the eight pictures, each with its caption."""
    for number, (colour, ground) in enumerate(LESSON):
        draw_cross(colour, ground).save(folder / f"{number}.png")
        caption = f"a {colour} {WORD} on a {ground} background"
        (folder / f"{number}.txt").write_text(caption, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Train, draw and judge; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        prog="dev.py teach",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of LoRA and pictures")
    parser.add_argument("--steps", type=int, default=Lesson.steps)
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    with HostServer(demo_models()) as server:
        client = HostClient(server.address)
        seconds = _train(server, client, Lesson(steps=chosen.steps), chosen.out)
        drawn = {name: _draw(client, name) for name in _LOADERS}
    right = {
        name: [shows_it(p, *colours) for p, colours in zip(pictures, TESTED, strict=True)]
        for name, pictures in drawn.items()
    }
    judged = [pair for name in drawn for pair in zip(drawn[name], right[name], strict=True)]
    lesson = [(draw_cross(*colours), None) for colours in LESSON]
    contact_sheet([*lesson, *judged]).save(chosen.out / "teach.png")
    same = all(
        ours.tobytes() == stock.tobytes()
        for ours, stock in zip(drawn["PixArtLora"], drawn["LoraLoaderModelOnly"], strict=True)
    )
    print(f"contact sheet: {chosen.out / 'teach.png'}\nLoRA: {chosen.out / _FILE}\n")
    print(f"trained in {seconds:.0f} s (at most {_MOST_SECONDS})")
    for name, found in right.items():
        print(f"{name or 'without the LoRA':24} {sum(found):>3} of {len(found)} show a {WORD}")
    print(f"at least {_LEAST_SHARE:.0%} with it; both loaders draw the same: {same}")
    taught = sum(right["PixArtLora"]) >= _LEAST_SHARE * len(TESTED)
    return int(not taught or not same or seconds > _MOST_SECONDS)


_FILE = "cross.safetensors"
_TRAINING = WORKFLOW.with_name("train_lora.json")
_LOADERS: dict[str, dict[str, Any]] = {
    "": {},
    "PixArtLora": {"file": _FILE, "strength": 1.0},
    "LoraLoaderModelOnly": {"lora_name": _FILE, "strength_model": 1.0},
}


def _train(server: HostServer, client: HostClient, lesson: Lesson, out: Path) -> float:
    """Train, put the LoRA into the host's folder and into ``out``, and return the seconds."""
    folder = server.base / "input" / "lesson"  # as the graph has it
    folder.mkdir()
    write_lesson(folder)
    began = time.monotonic()
    client.run(training_graph(lesson))
    seconds = time.monotonic() - began
    (written,) = (server.base / "output").rglob("lesson*.safetensors")
    loras = server.base / "models" / "loras"
    loras.mkdir(exist_ok=True)
    for target in (loras, out):
        shutil.copy(written, target / _FILE)
    return seconds


def training_graph(lesson: Lesson) -> Graph:
    """Return the shipped training graph with the lesson's settings."""
    shipped = Workflow(_TRAINING)
    node = shipped.node_id("TrainLoraNode")
    return shipped.with_values({(node, name): value for name, value in vars(lesson).items()})


def _draw(client: HostClient, loader: str) -> list[Image.Image]:
    """Draw the tested prompts, with the LoRA by a loader, or without."""
    shipped = Workflow(WORKFLOW)
    sampler, size = shipped.node_id("PixArtSampler"), shipped.node_id("PixArtResolution")
    prompt = shipped.node_id("PixArtTextEncode", ("PixArtSampler", "positive"))
    pictures = []
    for seed, (colour, ground) in enumerate(tqdm(TESTED, desc=loader or "without", unit="prompt")):
        graph = shipped.with_values(
            {
                (prompt, "text"): f"a {colour} {WORD} on a {ground} background",
                (sampler, "seed"): seed,
                **{(size, side): _SIDE for side in ("width", "height")},
            }
        )
        if loader:
            inputs = {"model": graph[sampler]["inputs"]["model"], **_LOADERS[loader]}
            graph["lora"] = {"class_type": loader, "inputs": inputs}
            graph[sampler]["inputs"]["model"] = ["lora", 0]
        (image,) = client.run(graph).images()
        pictures.append(Image.open(io.BytesIO(client.image(image))).convert("RGB"))
    return pictures
