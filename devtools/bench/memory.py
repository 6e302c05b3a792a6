"""``python dev.py bench memory``: the host's memory, stage by stage, with full-size random weights.

T5, the prompt, the denoiser and the VAE go through a real server, once with ComfyUI's memory freed
between the stages and once without. The exit code is 1 where a bar is missed. On a processor;
on a graphics card `bench speed` gives the peak of each part.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devtools.bench.weights import model_of, written
from devtools.client import HostClient
from devtools.environment import ROOT
from devtools.models import demo_models
from devtools.server import HostServer

_GB = 1e9
_ROOM = 2.0
"""Gigabytes beside the models."""
_LARGEST = 1.15
"""Times the largest model, where memory is freed between the stages."""
_SECONDS = 0.02
_PROMPT = "a lighthouse on a cliff at dusk, waves below, oil painting, warm light in its windows"

Graph = dict[str, dict[str, Any]]


@dataclass
class Stages:
    """Peaks of anonymous memory, in bytes, and what the models take."""

    models: dict[str, int]
    peaks: dict[str, int] = field(default_factory=dict)

    @property
    def peak(self) -> int:
        """Return the highest of all."""
        return max(self.peaks.values())


def bar_of(models: dict[str, int], freed: bool) -> float:
    """Return the most bytes that may be in use."""
    sizes = models.values()
    return (_LARGEST * max(sizes) if freed else sum(sizes)) + _ROOM * _GB


def main(arguments: list[str]) -> int:
    """Run both ways, print the stages, and return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="dev.py bench memory", description=__doc__)
    parser.add_argument("--small", action="store_true", help="the demo model, to try this out")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=2)
    chosen = parser.parse_args(arguments)
    files = demo_models() if chosen.small else _full_size()
    missed = False
    for freed in (True, False):
        stages = measure(files, chosen.side, chosen.steps, freed)
        missed |= report(stages, freed)
    return int(missed)


def measure(files: dict[str, list[Path]], side: int, steps: int, freed: bool) -> Stages:
    """Run the stages on a server of their own."""
    stages = Stages({kind: sum(map(_size, paths)) for kind, paths in files.items()})
    names = {kind: paths[0].name for kind, paths in files.items()}
    with HostServer(files) as server:
        client = HostClient(server.address, timeout=3600)
        stages.peaks["start"] = server.anonymous_bytes()
        for name, graph in graphs(names, side, steps).items():
            with watched(server) as peak:
                client.run(graph)
            stages.peaks[name] = peak[0]
            if freed:
                client.free()
                stages.peaks[f"{name}, freed"] = server.anonymous_bytes()
    return stages


def graphs(names: dict[str, str], side: int, steps: int) -> dict[str, Graph]:
    """Return the graphs of the stages; each but the first begins with what the last one saved."""
    t5 = _node("PixArtT5Loader", file=names["text_encoders"], precision="auto", device="auto")
    model = _node(
        "PixArtModelLoader", file=names["diffusion_models"], variant="auto", weight_dtype="auto"
    )
    read: Graph = {"1": t5, "2": model}
    drawn: Graph = {"2": model}
    for place, (name, text) in enumerate((("memory-positive", _PROMPT), ("memory-negative", ""))):
        read[f"1{place}"] = _node("PixArtTextEncode", clip=["1", 0], text=text, cleaning="auto")
        read[f"2{place}"] = _node(
            "PixArtSaveConditioning", conditioning=[f"1{place}", 0], name=name
        )
        drawn[f"1{place}"] = _node("PixArtLoadConditioning", file=f"{name}_00001.safetensors")
    del read["2"]
    drawn |= {
        "3": _node("EmptyLatentImage", width=side, height=side, batch_size=1),
        "4": _node(
            "PixArtSampler", model=["2", 0], positive=["10", 0], negative=["11", 0],
            latent_image=["3", 0], seed=0, steps=steps, guidance=4.5, solver="auto", denoise=1.0,
        ),
    }  # fmt: skip
    decoded = {
        **drawn,
        "5": _node("VAELoader", vae_name=names["vae"]),
        "6": _node("VAEDecode", samples=["4", 0], vae=["5", 0]),
        "7": _node("PreviewImage", images=["6", 0]),
    }
    saving = _node("SaveLatent", samples=["4", 0], filename_prefix="memory")
    return {"prompt": read, "picture": {**drawn, "5": saving}, "picture and VAE": decoded}


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


@contextmanager
def watched(server: HostServer) -> Iterator[list[int]]:
    """Watch the server's memory; the list holds the peak when the block is left."""
    peak, done = [server.anonymous_bytes()], threading.Event()

    def watch() -> None:
        while not done.wait(_SECONDS):
            peak[0] = max(peak[0], server.anonymous_bytes())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def report(stages: Stages, freed: bool) -> bool:
    """Print the stages; return whether the bar is missed."""
    print("freed between the stages" if freed else "not freed")
    for name, peak in stages.peaks.items():
        print(f"  {name:24} {peak / _GB:6.2f} GB")
    bar = bar_of(stages.models, freed)
    missed = stages.peak > bar
    verdict = "MISSED" if missed else "holds"
    print(f"  peak {stages.peak / _GB:.2f} GB, at most {bar / _GB:.2f}: {verdict}")
    return missed


def _size(path: Path) -> int:
    files = path.rglob("*.safetensors") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def _full_size() -> dict[str, list[Path]]:
    from devtools.bench.t5_weights import xxl_folder

    return {
        "diffusion_models": [written(model_of(False))],
        "text_encoders": [xxl_folder()],
        "vae": [_vae()],
    }


def _vae() -> Path:
    """Write Stable Diffusion's VAE with random weights, once."""
    import torch
    from diffusers import AutoencoderKL
    from safetensors.torch import save_file

    path = ROOT / ".cache" / "bench" / "vae-random.safetensors"
    if not path.exists():
        torch.manual_seed(0)
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in vae.state_dict().items()}, path)
    return path
