"""``python dev.py golden``: whether the demo model still draws the latents that are kept.

On a machine that is known (processor, threads, torch) each must be the same to the bit; elsewhere
within 1e-4. ``--accept`` keeps what is drawn now: say in the commit why it changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, load_file, save_file
from torch import Tensor
from tqdm import tqdm

from devtools.client import HostClient
from devtools.demo import WORKFLOW
from devtools.environment import ROOT
from devtools.models import demo_models
from devtools.server import HostServer
from devtools.workflow import Workflow

GOLDEN = ROOT / "tests" / "golden"
_LATENTS, _DIGESTS = "latents.safetensors", "digests.json"
FAREST = 1e-4
"""Most relative distance from what is kept, on a machine that is not known."""

_SMALL = {"width": 128, "height": 128}
_STEPS = {"SA-Solver": 6, "IDDPM": 10, "DDIM": 6, "Euler": 6, "UniPC": 6, "DEIS": 6}
CASES: dict[str, dict[str, dict[str, Any]]] = {
    "one picture": {"PixArtSampler": {"steps": 8}},
    "a batch of three": {"PixArtResolution": {"batch_size": 3}, "PixArtSampler": {"steps": 4}},
    "a bucket": {
        "PixArtResolution": {"width": 192, "height": 320},
        "PixArtSampler": {"steps": 4},
    },
    "without guidance": {"PixArtSampler": {"steps": 4, "guidance": 1.0}},
    **{
        solver: {"PixArtSampler": {"solver": solver, "steps": steps}}
        for solver, steps in _STEPS.items()
    },
    "LCM": {"PixArtSampler": {"solver": "LCM", "steps": 4, "guidance": 1.0}},
}
"""Inputs of the shipped workflow's nodes, by class."""


def main(arguments: list[str]) -> int:
    """Draw every case, say what changed, and return 1 if something did."""
    parser = argparse.ArgumentParser(
        prog="dev.py golden",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--accept", action="store_true", help="keep what is drawn now")
    accept = parser.parse_args(arguments).accept
    with HostServer(demo_models()) as server:
        drawn = draw(HostClient(server.address), server.base / "output")
    if accept:
        keep(drawn)
    changes = compare(drawn, digests_here())
    for name in CASES:
        print(f"{name:20} {changes.get(name, 'as it was')}")
    known = "known" if digests_here() else f"not known, compared at {FAREST:g}"
    print(f"\n{len(changes)} of {len(CASES)} changed; this machine is {known}: {machine()}")
    return int(bool(changes))


def draw(client: HostClient, output: Path) -> dict[str, Tensor]:
    """Return the latent of every case, drawn by the host that writes to ``output``."""
    bar = tqdm(CASES.items(), desc="golden", unit="latent", leave=False)
    return {name: draw_one(client, output, case) for name, case in bar}


def draw_one(client: HostClient, output: Path, case: Mapping[str, Mapping[str, Any]]) -> Tensor:
    """Return the latent (N, 4, h, w) of one case."""
    workflow = Workflow(WORKFLOW)
    inputs = {**case, "PixArtResolution": {**_SMALL, **case.get("PixArtResolution", {})}}
    values = {
        (workflow.node_id(kind), name): value
        for kind, changed in inputs.items()
        for name, value in changed.items()
    }
    sampler = workflow.node_id("PixArtSampler")
    graph = workflow.with_values(values)
    for kind in ("VAELoader", "VAEDecode", "SaveImage"):
        del graph[workflow.node_id(kind)]
    saving = {"samples": [sampler, 0], "filename_prefix": "golden"}
    result = client.run({**graph, "save": {"class_type": "SaveLatent", "inputs": saving}})
    (file,) = result.outputs["save"]["latents"]
    return load((output / file["subfolder"] / file["filename"]).read_bytes())["latent_tensor"]


def kept_latents() -> dict[str, Tensor]:
    """Return the latent that is kept of each case."""
    return load_file(GOLDEN / _LATENTS)


def digests_here() -> dict[str, str]:
    """Return the digests that are kept for this machine, by case; none where it is not known."""
    return _digests().get(machine(), {})


def compare(drawn: Mapping[str, Tensor], digests: Mapping[str, str]) -> dict[str, str]:
    """Return what is no longer as it is kept, by case, in words.

    What has a digest must be the same to the bit, anything else within `FAREST`.
    """
    kept = kept_latents()
    changes = {}
    for name, latent in drawn.items():
        if name not in kept or kept[name].shape != latent.shape:
            changes[name] = f"not kept in this shape, {tuple(latent.shape)}"
            continue
        distance = float((latent - kept[name]).norm() / kept[name].norm())
        known = digests.get(name)
        same = known == digest(latent) if known else distance <= FAREST
        if not same:
            changes[name] = f"changed: relative distance {distance:.1e}"
    return changes


def keep(drawn: Mapping[str, Tensor]) -> None:
    """Write latents, and this machine's digests; other machines' go where a latent changed.

    Where this machine's digest changed, the arithmetic did, and theirs are those of before it. (A
    change that this machine alone sees takes theirs, too; the latent is still compared there.)
    """
    GOLDEN.mkdir(exist_ok=True)
    before, now = digests_here(), {name: digest(latent) for name, latent in drawn.items()}
    old = kept_latents() if (GOLDEN / _LATENTS).exists() else {}
    as_before = {
        name
        for name, latent in drawn.items()
        if name in old
        and old[name].shape == latent.shape
        and float((latent - old[name]).norm() / old[name].norm()) <= FAREST
    }
    still = {name for name in as_before if before.get(name, now[name]) == now[name]}
    digests = {
        machine_: {name: value for name, value in own.items() if name in still}
        for machine_, own in _digests().items()
    }
    digests = {name: own for name, own in digests.items() if own} | {machine(): now}
    kept = {name: old[name] if name in as_before else latent for name, latent in drawn.items()}
    save_file(kept, GOLDEN / _LATENTS)
    (GOLDEN / _DIGESTS).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


def digest(latent: Tensor) -> str:
    """Return the sha256 of a latent's bytes."""
    return hashlib.sha256(latent.contiguous().numpy().tobytes()).hexdigest()


def machine() -> str:
    """Name what decides the last bits: processor, threads, torch."""
    isa = torch.backends.cpu.get_cpu_capability()
    return f"{_processor()}, {isa}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _processor() -> str:
    """Name the processor with its generation, which a virtual machine's name may hide."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    facts = dict(re.findall(r"^(model name|cpu family|model|stepping)\s*: (.*)$", text, re.M))
    return ", ".join(f"{name} {value}" for name, value in facts.items()) or platform.processor()


def _digests() -> dict[str, dict[str, str]]:
    path = GOLDEN / _DIGESTS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
