"""The options of the command line, as facts."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pixart_fleet.cluster import Share
from pixart_fleet.host import HostFacts, default_python
from pixart_fleet.limits import Limits

PACK = Path(__file__).resolve().parents[1]
KEY_VARIABLE = "PIXART_FLEET_KEY"
"""Environment variable with the key that clients of the service must show."""
MOST_IN_BATCH = 64


@dataclass(frozen=True)
class FleetOptions:
    """What both commands need to know."""

    workflow: Path
    facts: HostFacts
    ray_address: str | None
    share: Share
    batch: int
    job_seconds: float


@dataclass(frozen=True)
class RunOptions(FleetOptions):
    """Of ``run``."""

    prompts: Path
    out: Path
    workers: int
    resume: bool
    shared: bool


@dataclass(frozen=True)
class ServeOptions(FleetOptions):
    """Of ``serve``."""

    host: str
    port: int
    least_workers: int
    most_workers: int
    queue: int
    wait_seconds: float
    batch_wait_seconds: float
    key: str
    limits: Limits


def parse(arguments: Sequence[str]) -> RunOptions | ServeOptions:
    """Read the command line; argparse ends the program where it is wrong."""
    chosen = _parser().parse_args(arguments)
    gpus = chosen.gpus_per_worker
    common = {
        "workflow": chosen.workflow,
        "facts": HostFacts(
            comfyui=chosen.comfyui.absolute(),
            python=chosen.python.absolute(),
            models=(chosen.models or chosen.comfyui / "models").absolute(),
            pack=chosen.pack.absolute(),
            inputs=chosen.input.absolute() if chosen.input else None,
            on_cpu=gpus == 0,
            arguments=tuple(chosen.host_option),
        ),
        "ray_address": chosen.ray_address,
        "share": Share(chosen.cpus_per_worker, gpus),
        "batch": chosen.batch,
        "job_seconds": chosen.job_timeout,
    }
    return _serve(chosen, common) if chosen.command == "serve" else _run(chosen, common)


def default_comfyui() -> Path | None:
    """Return the ComfyUI that COMFYUI_PATH names, that the pack lies in, or that dev.py made."""
    named = os.environ.get("COMFYUI_PATH")
    if named:
        return Path(named)
    around = PACK.parent.parent
    if (around / "main.py").is_file() and PACK.parent.name == "custom_nodes":
        return around
    made = sorted(main.parent for main in PACK.glob(".cache/host-*/main.py"))
    return made[-1] if made else None


def _run(chosen: argparse.Namespace, common: dict[str, object]) -> RunOptions:
    return RunOptions(
        **common,  # type: ignore[arg-type]
        prompts=chosen.prompts,
        out=chosen.out.absolute(),
        workers=chosen.workers,
        resume=chosen.resume,
        shared=chosen.shared_out,
    )


def _serve(chosen: argparse.Namespace, common: dict[str, object]) -> ServeOptions:
    return ServeOptions(
        **common,  # type: ignore[arg-type]
        host=chosen.host,
        port=chosen.port,
        least_workers=chosen.workers,
        most_workers=max(chosen.workers, chosen.most_workers or 0),
        queue=chosen.queue,
        wait_seconds=chosen.timeout,
        batch_wait_seconds=chosen.batch_wait,
        key=os.environ.get(KEY_VARIABLE, ""),
        limits=Limits(side=chosen.longest_side, steps=chosen.most_steps),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pixart_fleet",
        description="Draw many prompts with headless ComfyUI hosts that Ray spreads over machines.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="draw every row of a list")
    serve = commands.add_parser("serve", help="draw what comes over HTTP")
    for command in (run, serve):
        _add_common(command)
    _add_run(run)
    _add_serve(serve)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    found = default_comfyui()
    parser.add_argument("--workflow", type=Path, required=True, help="a graph in API form")
    parser.add_argument(
        "--comfyui", type=Path, default=found, required=found is None, help="ComfyUI's folder"
    )
    parser.add_argument("--python", type=Path, default=default_python(), help="Python of ComfyUI")
    parser.add_argument("--models", type=Path, help="folder of models (default: ComfyUI's own)")
    parser.add_argument("--input", type=Path, help="folder of pictures that the workflow loads")
    parser.add_argument("--pack", type=Path, default=PACK, help="folder of this pack")
    parser.add_argument("--ray-address", help="a Ray cluster (default: start Ray on this machine)")
    parser.add_argument("--workers", type=_at_least(1), default=1, help="how many hosts")
    parser.add_argument(
        "--gpus-per-worker", type=_share, default=0.0, help="0 runs ComfyUI with --cpu (default)"
    )
    parser.add_argument("--cpus-per-worker", type=_share, default=1.0, help="for Ray's placing")
    parser.add_argument(
        "--batch",
        type=_at_least(1, MOST_IN_BATCH),
        default=1,
        help="how many rows may be drawn together (default: 1)",
    )
    parser.add_argument(
        "--job-timeout", type=_seconds, default=1800.0, help="seconds that a drawing may take"
    )
    parser.add_argument(
        "--host-option",
        action="append",
        default=[],
        help="an option for ComfyUI, as --host-option=--lowvram; may be given again",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompts", type=Path, required=True, help="a .csv or .jsonl list")
    parser.add_argument("--out", type=Path, required=True, help="folder of pictures and manifest")
    parser.add_argument("--resume", action="store_true", help="go on with what --out has")
    parser.add_argument(
        "--shared-out",
        action="store_true",
        help="--out is the same folder on all machines: workers write into it themselves",
    )


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=_at_least(1, 65535), default=8000)
    parser.add_argument("--most-workers", type=_at_least(1), help="scale up to this many")
    parser.add_argument(
        "--queue", type=_at_least(1), default=64, help="requests at once; more get 429"
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=300.0, help="seconds after which a request gets 504"
    )
    parser.add_argument(
        "--longest-side", type=_at_least(16), default=Limits.side, help="of a picture, in pixels"
    )
    parser.add_argument("--most-steps", type=_at_least(1), default=Limits.steps)
    parser.add_argument(
        "--batch-wait", type=_seconds, default=0.05, help="seconds to wait for a fuller batch"
    )


def _at_least(least: int, most: int = 1_000_000) -> type[int]:
    class Number(int):
        """An integer within bounds."""

        def __new__(cls, text: str) -> int:  # type: ignore[misc]
            value = int(text)
            if not least <= value <= most:
                raise ValueError
            return value

    Number.__name__ = f"whole number from {least} to {most}"
    return Number


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1024:
        raise ValueError
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1_000_000:
        raise ValueError
    return value


_share.__name__ = "number from 0"
_seconds.__name__ = "number of seconds"
