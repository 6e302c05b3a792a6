"""``python dev.py adherence``: how often a picture shows what its prompt says."""

from __future__ import annotations

import argparse
import io
import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from demo.judge import Verdict, judge
from demo.scenes import SHAPES, TEMPLATES, Scene, random_scene
from devtools.client import HostClient
from devtools.demo import WORKFLOW
from devtools.models import demo_models
from devtools.server import HostServer
from devtools.workflow import Workflow

_PROMPTS = 64
_SHEET_COLUMNS = 8
_SHEET_SIDE = 128
_MARK_HEIGHT = 6
_MARKS = {True: (40, 170, 70), False: (220, 30, 30)}

COLOURS_BAR = 0.90
"""Least share of pictures with both colours right."""
WHOLE_BAR = 0.70
"""Least share of pictures with the shape right too."""


@dataclass(frozen=True)
class Trial:
    """One prompt and seed of the fixed list."""

    scene: Scene
    prompt: str
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What became of a trial."""

    trial: Trial
    verdict: Verdict
    picture: Image.Image

    @property
    def has_colours(self) -> bool:
        """Whether object and ground have the named colours."""
        return self.verdict.has_colours_of(self.trial.scene)

    @property
    def is_right(self) -> bool:
        """Whether shape and colours are the named ones."""
        return self.verdict.matches(self.trial.scene)


def main(arguments: list[str]) -> int:
    """Draw and judge the fixed list, print the table, and return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="dev.py adherence", description=__doc__)
    parser.add_argument("--prompts", type=int, default=_PROMPTS, help="how many (default: 64)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the report")
    parser.add_argument("--models", type=Path, help="folder of the three files (default: demo's)")
    chosen = parser.parse_args(arguments)
    models = demo_models(chosen.models) if chosen.models else demo_models()
    with HostServer(models) as server:
        client = HostClient(server.address)
        outcomes = [_try(client, trial) for trial in tqdm(trials(chosen.prompts), unit="prompt")]
    chosen.out.mkdir(parents=True, exist_ok=True)
    _sheet(outcomes).save(chosen.out / "adherence.png")
    (chosen.out / "adherence.json").write_text(_as_json(outcomes), encoding="utf-8")
    print(f"contact sheet: {chosen.out / 'adherence.png'}")
    return _report(outcomes)


def trials(count: int) -> list[Trial]:
    """Return the first ``count`` of a list that never changes."""
    rng = random.Random("adherence")
    return [_trial(rng, seed) for seed in range(count)]


def _trial(rng: random.Random, seed: int) -> Trial:
    scene = random_scene(rng)
    return Trial(scene, scene.caption(rng.choice(TEMPLATES)), seed)


def _try(client: HostClient, trial: Trial) -> Outcome:
    workflow = Workflow(WORKFLOW)
    prompt = workflow.node_id("PixArtTextEncode", ("PixArtSampler", "positive"))
    sampler = workflow.node_id("PixArtSampler")
    graph = workflow.with_values({(prompt, "text"): trial.prompt, (sampler, "seed"): trial.seed})
    (image,) = client.run(graph).images()
    picture = Image.open(io.BytesIO(client.image(image))).convert("RGB")
    return Outcome(trial, judge(picture), picture)


def _sheet(outcomes: list[Outcome]) -> Image.Image:
    rows = -(-len(outcomes) // _SHEET_COLUMNS)
    sheet = Image.new("RGB", (_SHEET_COLUMNS * _SHEET_SIDE, rows * (_SHEET_SIDE + _MARK_HEIGHT)))
    for i, outcome in enumerate(outcomes):
        x = i % _SHEET_COLUMNS * _SHEET_SIDE
        y = i // _SHEET_COLUMNS * (_SHEET_SIDE + _MARK_HEIGHT)
        sheet.paste(outcome.picture.resize((_SHEET_SIDE, _SHEET_SIDE)), (x, y))
        mark = (x, y + _SHEET_SIDE, x + _SHEET_SIDE, y + _SHEET_SIDE + _MARK_HEIGHT)
        sheet.paste(_MARKS[outcome.is_right], mark)
    return sheet


def _as_json(outcomes: list[Outcome]) -> str:
    rows = [
        {**asdict(outcome.trial), "seen": asdict(outcome.verdict), "right": outcome.is_right}
        for outcome in outcomes
    ]
    return json.dumps(rows, indent=1)


def _report(outcomes: list[Outcome]) -> int:
    for outcome in outcomes:
        if not outcome.is_right:
            seen = outcome.verdict
            shown = f"{seen.colour or '?'} {seen.shape or '?'} on {seen.ground or '?'}"
            print(f"  seed {outcome.trial.seed:3}: {outcome.trial.prompt!r} shows {shown}")
    print(f"\n{'':10} {'prompts':>8} {'colours':>8} {'shape too':>10}")
    for shape in SHAPES:
        _row(shape, [outcome for outcome in outcomes if outcome.trial.scene.shape == shape])
    colours, whole = _row("all", outcomes)
    print(f"{'at least':10} {'':8} {COLOURS_BAR:8.0%} {WHOLE_BAR:10.0%}")
    return 0 if colours >= COLOURS_BAR and whole >= WHOLE_BAR else 1


def _row(name: str, outcomes: list[Outcome]) -> tuple[float, float]:
    count = max(len(outcomes), 1)
    colours = sum(outcome.has_colours for outcome in outcomes) / count
    whole = sum(outcome.is_right for outcome in outcomes) / count
    print(f"{name:10} {len(outcomes):8} {colours:8.1%} {whole:10.1%}")
    return colours, whole
