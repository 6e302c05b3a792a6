"""The two graphs that the host draws a prompt with: our nodes, and its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devtools.client import Graph
from devtools.demo import WORKFLOW
from devtools.workflow import Workflow

from .sheet import NEGATIVE, Course, Item

SAVED_LATENT = "saved latent"
"""Id of the node that keeps the latent."""


@dataclass(frozen=True)
class Files:
    """Names of the user's files, as the host lists them."""

    model: str
    t5: str
    vae: str


def our_graph(files: Files, variant: str, course: Course, item: Item) -> Graph:
    """Return the shipped graph with these files."""
    shipped = Workflow(WORKFLOW)
    sampler, size = shipped.node_id("PixArtSampler"), shipped.node_id("PixArtResolution")
    prompts = {
        name: shipped.node_id("PixArtTextEncode", ("PixArtSampler", name))
        for name in ("positive", "negative")
    }
    loader = shipped.node_id("PixArtModelLoader")
    graph = shipped.with_values(
        {
            (loader, "file"): files.model,
            (loader, "variant"): variant,
            (shipped.node_id("PixArtT5Loader"), "file"): files.t5,
            (shipped.node_id("VAELoader"), "vae_name"): files.vae,
            (prompts["positive"], "text"): item.prompt,
            (prompts["negative"], "text"): NEGATIVE,
            **{(size, name): course.side for name in ("width", "height")},
            (sampler, "seed"): item.seed,
            (sampler, "steps"): course.steps,
            (sampler, "guidance"): course.guidance,
            (sampler, "solver"): course.solver,
        }
    )
    graph[SAVED_LATENT] = _save([sampler, 0])
    return graph


def stock_graph(files: Files, course: Course, item: Item) -> Graph:
    """Return the graph that a user without this pack would make."""
    sides = {"width": course.side, "height": course.side}
    sampling = {"sampler_name": "dpmpp_2m", "scheduler": "sgm_uniform", "denoise": 1.0}
    links = {"model": ["model", 0], "positive": ["positive", 0], "negative": ["negative", 0]}
    return {
        "model": _node("UNETLoader", unet_name=files.model, weight_dtype="default"),
        "clip": _node("CLIPLoader", clip_name=files.t5, type="pixart", device="default"),
        "vae": _node("VAELoader", vae_name=files.vae),
        "positive": _stock_prompt(item.prompt, course),
        "negative": _stock_prompt(NEGATIVE, course),
        "size": _node("EmptyLatentImage", **sides, batch_size=1),
        "sampler": _node(
            "KSampler",
            **{**links, "latent_image": ["size", 0], **sampling},
            **{"seed": item.seed, "steps": course.steps, "cfg": course.guidance},
        ),
        "decoded": _node("VAEDecode", samples=["sampler", 0], vae=["vae", 0]),
        "saved": _node("SaveImage", images=["decoded", 0], filename_prefix="stock"),
        SAVED_LATENT: _save(["sampler", 0]),
    }


def decoding_graph(files: Files, latent: str) -> Graph:
    """Return the graph that makes a picture of a latent in the host's input folder."""
    return {
        "vae": _node("VAELoader", vae_name=files.vae),
        "latent": _node("LoadLatent", latent=latent),
        "decoded": _node("VAEDecode", samples=["latent", 0], vae=["vae", 0]),
        "saved": _node("SaveImage", images=["decoded", 0], filename_prefix="diffusers"),
    }


def _stock_prompt(text: str, course: Course) -> dict[str, Any]:
    if not course.size_conditions:
        return _node("CLIPTextEncode", text=text, clip=["clip", 0])
    sides = {"width": course.side, "height": course.side}
    return _node("CLIPTextEncodePixArtAlpha", text=text, clip=["clip", 0], **sides)


def _save(latent: list[Any]) -> dict[str, Any]:
    return _node("SaveLatent", samples=latent, filename_prefix="verify")


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}
