"""``python dev.py demo``: draw a picture with the demo model in a real headless host."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tqdm import tqdm

from devtools.client import Event, ExecutionFailed, HostClient, Interrupted, Rejected, Result
from devtools.environment import ROOT
from devtools.failure import Failure
from devtools.models import demo_models
from devtools.server import HostServer
from devtools.workflow import Workflow

WORKFLOW = ROOT / "workflows" / "api" / "text_to_image.json"

_SAMPLER = "PixArtSampler"
_STAGES = {
    "PixArtModelLoader": "load the PixArt model",
    "PixArtT5Loader": "load T5",
    "PixArtTextEncode": "encode the text",
    "PixArtResolution": "prepare the size",
    _SAMPLER: "sample",
    "VAELoader": "load the VAE",
    "VAEDecode": "decode",
    "SaveImage": "save",
}


@dataclass(frozen=True)
class _Option:
    """An option that sets one input of one node; ``via`` is the sampler's input it is behind."""

    name: str
    kind: type[str] | type[int] | type[float]
    node: str
    input: str
    help: str
    via: str = ""

    def place(self, workflow: Workflow) -> tuple[str, str]:
        """Node id and name of the input."""
        linked = (_SAMPLER, self.via) if self.via else None
        return workflow.node_id(self.node, linked), self.input


_OPTIONS = (
    _Option("prompt", str, "PixArtTextEncode", "text", "what to draw", "positive"),
    _Option("negative", str, "PixArtTextEncode", "text", "what to avoid", "negative"),
    _Option("seed", int, _SAMPLER, "seed", "another seed gives another picture"),
    _Option("steps", int, _SAMPLER, "steps", "sampling steps"),
    _Option("guidance", float, _SAMPLER, "guidance", "how closely to follow the prompt"),
    _Option("width", int, "PixArtResolution", "width", "in pixels"),
    _Option("height", int, "PixArtResolution", "height", "in pixels"),
    _Option("batch", int, "PixArtResolution", "batch_size", "pictures at once"),
)


def main(arguments: list[str]) -> int:
    """Draw, save the pictures, and print their paths and the seconds of each stage."""
    workflow = Workflow(WORKFLOW)
    chosen = vars(_parser(workflow).parse_args(arguments))
    values = {
        option.place(workflow): chosen[option.name]
        for option in _OPTIONS
        if chosen[option.name] is not None
    }
    _make_folder(chosen["out"])
    began = time.monotonic()
    print("starting ComfyUI ...", flush=True)
    with HostServer(demo_models()) as server:
        client = HostClient(server.address)
        try:
            with _Progress(workflow.node_id(_SAMPLER)) as progress:
                result = client.run(workflow.with_values(values), progress.on_event)
        except (Rejected, ExecutionFailed, Interrupted) as error:
            print(error, file=sys.stderr)
            return 1
        paths = _save(client, result, chosen["out"])
    for path in paths:
        print(path.absolute())
    stages = {"start ComfyUI": server.seconds_to_start, **_stage_seconds(workflow, result)}
    _print_seconds(stages, time.monotonic() - began)
    return 0


def _parser(workflow: Workflow) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py demo",
        description="Draw a picture with the demo model in a real headless ComfyUI.",
    )
    for option in _OPTIONS:
        default = workflow.value(*option.place(workflow))
        shown = f"{option.help} (default: {default!r})".replace("%", "%%")
        parser.add_argument(f"--{option.name}", type=option.kind, help=shown)
    parser.add_argument(
        "--out", type=Path, default=Path("out"), help="folder of the pictures (default: out)"
    )
    return parser


class _Progress:
    """A progress bar that follows one node's progress messages."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._bar: tqdm[None] = tqdm(desc="sampling", unit="step", leave=False, delay=0.01)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def on_event(self, event: Event) -> None:
        """Move the bar when the message is about its node."""
        if event.kind == "progress" and event.data.get("node") == self._node_id:
            self._bar.total = int(event.data["max"])
            self._bar.update(int(event.data["value"]) - self._bar.n)


def _make_folder(folder: Path) -> None:
    """Make the folder before anything is drawn, so that no picture is lost for want of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(
            f"Could not make the folder {folder}",
            found=str(error),
            expected="a folder, or a place where one can be made",
            do="give another one with --out",
        ) from error


def _save(client: HostClient, result: Result, folder: Path) -> list[Path]:
    free = _free_paths(folder)
    return [_write_new(free, client.image(image)) for image in result.images()]


def _free_paths(folder: Path) -> Iterator[Path]:
    return (folder / f"pixart-{number:05}.png" for number in count(1))


def _write_new(free: Iterator[Path], content: bytes) -> Path:
    """Write to the first path that does not exist, and return it."""
    for path in free:
        try:
            with path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            continue
        return path
    raise AssertionError("the numbers ran out")


def _stage_seconds(workflow: Workflow, result: Result) -> dict[str, float]:
    """Seconds of each stage in the order of their first node."""
    classes, stages = workflow.class_types(), dict[str, float]()
    for node_id, seconds in result.node_seconds().items():
        class_type = classes.get(node_id, "other nodes")
        name = _STAGES.get(class_type, class_type)
        stages[name] = stages.get(name, 0.0) + seconds
    return stages


def _print_seconds(stages: dict[str, float], total: float) -> None:
    width = max(map(len, stages))
    for name, seconds in {**stages, "total": total}.items():
        print(f"  {name:<{width}} {seconds:7.2f} s")
