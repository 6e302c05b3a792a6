"""``python dev.py bench load``: a full-size file through our loader and through the host's.

Each load runs in a process of its own, in turns, on the same files with random weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from devtools.environment import ROOT

_MOST_MEMORY = 1.3
"""Peak of anonymous memory over the bytes of the final weights."""
_MOST_TIME = 1.15
"""Our seconds over the host's."""
_REPEATS = 3
_KINDS = ("pth", "safetensors")
_LOADERS = ("ours", "host")
_NAME = "PixArt-Sigma-XL-2-1024-MS-random"


@dataclass(frozen=True)
class Load:
    """One load in a fresh process."""

    seconds: float
    growth: int
    """Bytes of anonymous memory, from before the load to its peak."""
    weights: int
    """Bytes of the loaded weights."""


def main(arguments: list[str]) -> int:
    """Measure, print the table, and return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="dev.py bench load", description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("LOADER", "FILE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        print(json.dumps(load_once(chosen.one[0], Path(chosen.one[1]))))
        return 0
    files = {kind: _random_file(kind) for kind in _KINDS}
    runs = [(kind, loader) for kind in _KINDS for _ in range(_REPEATS) for loader in _LOADERS]
    found: dict[tuple[str, str], list[Load]] = {run: [] for run in runs}
    for run in tqdm(runs, desc="loads"):
        found[run].append(_in_a_process(run[1], files[run[0]]))
    return _report(found)


def load_once(loader: str, path: Path) -> dict[str, Any]:
    """Load a file in this process: seconds, memory and bytes of weights."""
    from devtools.inprocess import import_pack
    from devtools.memory import PeakMemory

    import_pack()
    import comfy.sd
    import torch
    from pixart_pack.nodes.host.loading import load_model

    # As the host runs a prompt.
    with torch.inference_mode():
        began = time.perf_counter()
        with PeakMemory() as memory:
            if loader == "ours":
                patcher = load_model(path, "auto", "auto").patcher
            else:
                patcher = comfy.sd.load_diffusion_model(str(path))
        seconds = time.perf_counter() - began
        weights = patcher.model.diffusion_model.state_dict().values()
        size = sum(tensor.numel() * tensor.element_size() for tensor in weights)
    return {"seconds": seconds, "growth": memory.growth, "weights": size}


def _in_a_process(loader: str, path: Path) -> Load:
    command = [sys.executable, "-m", "devtools", "bench", "load", "--one", loader, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return Load(**json.loads(done.stdout.splitlines()[-1]))


def _random_file(kind: str) -> Path:
    """Write a full-size Sigma model with random weights, once."""
    import torch
    from safetensors.torch import save_file

    from pixart_core.network import NetworkConfig, PixArtTransformer
    from pixart_core.writing import written

    path = ROOT / ".cache" / "bench" / f"{_NAME}.{kind}"
    if path.exists():
        return path
    torch.manual_seed(0)
    model = PixArtTransformer(NetworkConfig(28, 1152, 4608, 4, 8, 2, 4096, 32, False, 300))
    tensors = {**model.state_dict(), "pos_embed": torch.zeros(1, 4096, 1152)}
    with written(path) as draft:
        if kind == "pth":
            torch.save({"state_dict": tensors}, draft)
        else:
            save_file(tensors, draft)
    return path


def _report(found: dict[tuple[str, str], list[Load]]) -> int:
    print(f"{'file':12} {'loader':7} {'seconds':>8} {'peak':>9} {'of weights':>11}")
    missed = False
    for (kind, loader), loads in found.items():
        seconds = statistics.median(load.seconds for load in loads)
        growth = statistics.median(load.growth for load in loads)
        share = growth / loads[0].weights
        print(f"{kind:12} {loader:7} {seconds:8.2f} {growth / 1e9:6.2f} GB {share:11.2f}")
        missed |= loader == "ours" and share > _MOST_MEMORY
    for kind in _KINDS:
        ours, host = (
            statistics.median(load.seconds for load in found[kind, loader]) for loader in _LOADERS
        )
        missed |= ours / host > _MOST_TIME
        print(f"{kind}: {ours / host:.2f} of the host's time (at most {_MOST_TIME})")
    print(f"peak of anonymous memory at most {_MOST_MEMORY} of the weights")
    return int(missed)
