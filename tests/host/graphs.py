"""Graphs in API form, made from the shipped workflow."""

from __future__ import annotations

from typing import Any

from devtools.demo import WORKFLOW
from devtools.workflow import Workflow

Graph = dict[str, dict[str, Any]]

STOCK_SAMPLER = {
    "seed": 0,
    "steps": 20,
    "cfg": 4.5,
    "sampler_name": "dpmpp_2m",
    "scheduler": "sgm_uniform",
    "denoise": 1.0,
}


def text_to_image(**inputs: dict[str, Any]) -> Graph:
    """The shipped graph with some inputs changed, by node class: ``PixArtSampler={"steps": 2}``.

    ``positive`` and ``negative`` name the two prompts.
    """
    workflow = Workflow(WORKFLOW)
    prompts = {
        name: workflow.node_id("PixArtTextEncode", ("PixArtSampler", name))
        for name in ("positive", "negative")
    }
    values = {
        (prompts.get(node) or workflow.node_id(node), name): value
        for node, changed in inputs.items()
        for name, value in changed.items()
    }
    return workflow.with_values(values)


def saving_latents(graph: Graph) -> Graph:
    """The graph with its picture's decoding and saving replaced by SaveLatent."""
    (sampler,) = (i for i, n in graph.items() if n["class_type"] in ("PixArtSampler", "KSampler"))
    kept = {
        i: n
        for i, n in graph.items()
        if n["class_type"] not in ("VAELoader", "VAEDecode", "SaveImage")
    }
    save = {"samples": [sampler, 0], "filename_prefix": "latent"}
    return {**kept, "100": {"class_type": "SaveLatent", "inputs": save}}


def with_stock_nodes(graph: Graph) -> Graph:
    """The graph with the host's prompt, latent and sampler nodes in place of ours."""
    replaced: Graph = {}
    for node_id, old in graph.items():
        given = old["inputs"]
        if old["class_type"] == "PixArtTextEncode":
            old = node("CLIPTextEncode", clip=given["clip"], text=given["text"])
        elif old["class_type"] == "PixArtResolution":
            old = node("EmptyLatentImage", **given)
        elif old["class_type"] == "PixArtSampler":
            links = {
                name: given[name] for name in ("model", "positive", "negative", "latent_image")
            }
            old = node("KSampler", **links, **{**STOCK_SAMPLER, "seed": given["seed"]})
        replaced[node_id] = old
    return replaced


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """Return a node of a graph."""
    return {"class_type": class_type, "inputs": inputs}
