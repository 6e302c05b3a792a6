"""What the queue is mixed of: graphs that differ in all that the pack can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from devtools.demo import WORKFLOW
from devtools.workflow import Workflow

from . import files

Graph = dict[str, dict[str, Any]]
Change = Callable[[Graph], None]

EDGES = "soak.png"
"""A picture in the host's input folder."""
_MODEL, _T5, _PROMPT, _SIZE, _SAMPLER, _VAE, _SAVED = "1", "2", "3", "5", "6", "7", "9"
"""Ids in the shipped workflow."""


def graph_of(change: Change, seed: int, prefix: str, steps: int = 2) -> Graph:
    """Return the shipped graph with a change, at 128 px unless it says otherwise."""
    graph = Workflow(WORKFLOW).with_values(
        {
            **{(_SIZE, side): 128 for side in ("width", "height")},
            (_SAMPLER, "steps"): steps,
            (_SAMPLER, "seed"): seed,
            # Another name each time: what the host has saved before it does not save again.
            (_SAVED, "filename_prefix"): prefix,
        }
    )
    change(graph)
    return graph


def _set(node: str, **values: Any) -> Change:
    def change(graph: Graph) -> None:
        graph[node]["inputs"] |= values

    return change


def _with_lora(graph: Graph) -> None:
    inputs = {"model": [_MODEL, 0], "file": files.LORA, "strength": 1.0, "alpha": 0.0}
    graph["lora"] = {"class_type": "PixArtLora", "inputs": inputs}
    graph[_SAMPLER]["inputs"]["model"] = ["lora", 0]


def _with_control(graph: Graph) -> None:
    sampler = graph[_SAMPLER]["inputs"]
    graph["net"] = {"class_type": "PixArtControlNetLoader", "inputs": {"file": files.CONTROL}}
    graph["edges"] = {"class_type": "LoadImage", "inputs": {"image": EDGES}}
    graph["apply"] = {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {
            **{"positive": sampler["positive"], "negative": sampler["negative"]},
            **{"control_net": ["net", 0], "image": ["edges", 0], "vae": [_VAE, 0]},
            **{"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0},
        },
    }
    sampler |= {"positive": ["apply", 0], "negative": ["apply", 1]}


def _with_stock_sampler(graph: Graph) -> None:
    given = graph[_SAMPLER]["inputs"]
    links = {name: given[name] for name in ("model", "positive", "negative", "latent_image")}
    own = {"sampler_name": "dpmpp_2m", "scheduler": "sgm_uniform", "denoise": 1.0, "cfg": 4.5}
    kept = {name: given[name] for name in ("seed", "steps")}
    graph[_SAMPLER] = {"class_type": "KSampler", "inputs": {**links, **own, **kept}}


GOOD: Mapping[str, Change] = {
    "plain": _set(_SAMPLER),
    "another prompt": _set(_PROMPT, text="a yellow star on a green background"),
    "another model": _set(_MODEL, file=files.SIGMA),
    "T5 in int8": _set(_T5, precision="int8 (offloadable)"),
    "T5 in fp8": _set(_T5, precision="fp8"),
    "LoRA": _with_lora,
    "ControlNet": _with_control,
    "four pictures": _set(_SIZE, batch_size=4),
    "a wide picture": _set(_SIZE, width=192, height=96),
    "SA-Solver": _set(_SAMPLER, solver="SA-Solver"),
    "IDDPM": _set(_SAMPLER, solver="IDDPM"),
    "KSampler": _with_stock_sampler,
}
BAD: Mapping[str, Change] = {
    "a broken file": _set(_MODEL, file=files.BROKEN),
    "no such file": _set(_MODEL, file="none.safetensors"),
    "an odd size": _set(_SIZE, width=250),
    "a variant that it is not": _set(_MODEL, variant="alpha-1024"),
    "no steps": _set(_SAMPLER, steps=0),
    "a VAE for a model": _set(_SAMPLER, model=[_VAE, 0]),
}
"""Graphs that must be refused or fail with a sentence."""

SAMPLER = _SAMPLER
