"""Choose the measurement."""

from __future__ import annotations

import argparse
import importlib

_BENCHES = {
    "crowd": "how many workers one driver of the fleet can keep busy, with workers that sleep",
    "easycache": "what ComfyUI's step cache saves on our model, and what it costs in pictures",
    "fleet": "what the fleet adds to a prompt, and what two workers and batches gain",
    "growth": "time and memory of drawing against pixels, batch, steps and prompt length",
    "load": "time and memory of loading a full-size file, against ComfyUI's own loader",
    "memory": "the host's memory stage by stage, with full-size random weights",
    "solvers": "adherence and distance to the solution, by solver and steps, ours and ComfyUI's",
    "speed": "seconds and memory of drawing, against diffusers and ComfyUI's own PixArt",
    "start": "seconds that loading the pack adds to ComfyUI's start",
    "t5": "time, memory and error of T5-XXL in every precision",
}


def main(arguments: list[str]) -> int:
    """Run the measurement that is named first."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench",
        description="Measure. " + " ".join(f"{name}: {text}." for name, text in _BENCHES.items()),
    )
    parser.add_argument("what", choices=tuple(_BENCHES))
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    chosen = parser.parse_args(arguments)
    module = importlib.import_module(f"devtools.bench.{chosen.what}")
    code: int = module.main(chosen.rest)
    return code
