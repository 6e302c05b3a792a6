"""``python dev.py bench t5``: T5-XXL with random weights in every precision.

Each precision runs in a process of its own: seconds to load, anonymous memory at its peak and at
rest, seconds for a prompt of 120 tokens, and how far its embedding is from fp32.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from tqdm import tqdm

from devtools.bench.t5_weights import XXL, reference_embedding, tokens, xxl_folder
from devtools.environment import ROOT
from devtools.memory import free_bytes

GB = 1e9
_MOST_AT_REST = {
    "bf16": 9.7,
    "int8 (offloadable)": 5.2,
    "8-bit (bitsandbytes)": 7.0,
    "4-bit (bitsandbytes)": 5.0,
}
"""Gigabytes."""
_MOST_ABOVE_REST = 1.5
"""Gigabytes of the peak above what stays."""
_ROOM = {"fp32": 20.5}
"""Gigabytes of free memory that a precision needs; the others fit where bf16 does."""
_RESULT = "embedding-fp32.pt"
"""In the folder of the weights, so that it goes when they do."""


@dataclass(frozen=True)
class Measured:
    """One precision in a fresh process; memory in bytes, beyond what the process had before."""

    seconds: float
    peak: int
    rest: int
    encoding: float
    """Seconds for a prompt of 120 tokens."""
    error: float
    """Relative, against fp32."""
    card: int
    """Bytes on the graphics card, 0 where there is none."""


def main(arguments: list[str]) -> int:
    """Measure, print the table, and return 1 if a bar is missed."""
    from devtools.inprocess import import_pack

    parser = argparse.ArgumentParser(prog="dev.py bench t5", description=__doc__)
    parser.add_argument("--one", metavar="PRECISION", help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="+", metavar="PRECISION", help="measure these alone")
    chosen = parser.parse_args(arguments)
    import_pack()
    if chosen.one:
        print(json.dumps(asdict(measure(chosen.one))))
        return 0
    from pixart_pack.nodes.host.text_encoder import PRECISIONS

    names = chosen.only or [name for name in PRECISIONS if name != "auto"]
    folder = xxl_folder()
    if not (folder / _RESULT).exists():
        import torch

        torch.save(reference_embedding(folder), folder / _RESULT)
    found: dict[str, Measured | str] = {}
    for name in tqdm(names, desc="precisions"):
        free = free_bytes() / GB
        if free < _ROOM.get(name, 0):
            found[name] = f"not measured: it needs {_ROOM[name]} GB, {free:.1f} are free"
        else:
            found[name] = _in_a_process(name)
    return _report(found)


def measure(precision: str) -> Measured:
    """Load and use T5-XXL in this process."""
    import gc

    import torch
    from pixart_pack.nodes.host.text_encoder import load_text_encoder

    from devtools.memory import PeakMemory, anonymous_bytes

    folder = xxl_folder()
    # As the host runs a prompt.
    with torch.inference_mode():
        began = time.perf_counter()
        with PeakMemory() as memory:
            clip = load_text_encoder(folder, precision, "auto")
        seconds = time.perf_counter() - began
        gc.collect()
        rest = anonymous_bytes() - memory.before
        row = {"t5xxl": [[(token, 1.0) for token in tokens()]]}
        times = []
        for _ in range(2):
            began = time.perf_counter()
            embedding = clip.encode_from_tokens(row)
            times.append(time.perf_counter() - began)
    wanted = torch.load(folder / _RESULT, weights_only=True)
    error = float((embedding.float().cpu() - wanted).norm() / wanted.norm())
    card = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return Measured(seconds, memory.growth, rest, min(times), error, card)


def _in_a_process(precision: str) -> Measured | str:
    command = [sys.executable, "-m", "devtools", "bench", "t5", "--one", precision]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"failed with exit code {done.returncode}: {done.stderr.strip()[-300:]}"
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Measured(**values)


def _report(found: dict[str, Measured | str]) -> int:
    print(f"T5-XXL, {XXL.layers} blocks {XXL.width} wide, random weights, read from a bf16 folder")
    head = ("precision", "load", "peak", "at rest", "120 tokens", "error", "card")
    print("{:22}{:>9}{:>10}{:>10}{:>12}{:>9}{:>14}".format(*head))
    missed = []
    for name, result in found.items():
        if isinstance(result, str):
            print(f"{name:22}  {result}")
            missed += [f"{name} failed"] if result.startswith("failed") else []
            continue
        peak, rest = result.peak / GB, result.rest / GB
        card = f"{result.card / GB:.2f} GB" if result.card else "not measured"
        print(
            f"{name:22}{result.seconds:7.1f} s{peak:7.2f} GB{rest:7.2f} GB"
            f"{result.encoding:10.2f} s{result.error:9.4f}{card:>14}"
        )
        if rest > _MOST_AT_REST.get(name, rest):
            missed.append(f"{name} rests at {rest:.2f} GB, at most {_MOST_AT_REST[name]}")
        if peak > rest + _MOST_ABOVE_REST:
            missed.append(f"{name} peaks {peak - rest:.2f} GB above, at most {_MOST_ABOVE_REST}")
    print("bitsandbytes leaves T5's wo, 2 GB of it, in bf16. Mapped files do not count.")
    print("\n".join(missed) or "every bar is reached")
    return int(bool(missed))
