"""Jobs that become one batch of different prompts, and the graph that draws them together.

PixArt takes a batch of prompts with masks: PixArtPromptBatch encodes a prompt a line, and
PixArtSampler takes a seed for each picture, which then draws the noise that it draws alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pixart_fleet.jobs import Job
from pixart_fleet.workflow import PROMPTS, Graph, Place, Values, Workflow, full_name, is_link

_SAMPLER = "PixArtSampler"
_ENCODER = "PixArtTextEncode"
_BATCH_ENCODER = "PixArtPromptBatch"
_LATENTS = ("PixArtResolution", "EmptyLatentImage")
_ROW_BY_ROW = {
    *(_SAMPLER, _ENCODER, *_LATENTS),
    *("PixArtModelLoader", "PixArtT5Loader", "PixArtLora", "VAELoader", "VAEDecode", "SaveImage"),
    *("UNETLoader", "CLIPLoader", "LoraLoaderModelOnly"),
}
"""Nodes that treat each picture of a batch as if it were alone."""


@dataclass(frozen=True)
class Seams:
    """Where a workflow takes what may differ from picture to picture."""

    texts: tuple[Place, ...]
    """Those of the prompt and of the negative."""
    seed: Place
    batch_size: Place


def seams_of(workflow: Workflow) -> Seams | None:
    """Return a workflow's seams, or None where its rows cannot be merged.

    They can where one PixArt Sampler gets two PixArt Prompts and an empty latent, and every
    other node treats the pictures of a batch one by one.
    """
    graph = workflow.graph
    if any(node["class_type"] not in _ROW_BY_ROW for node in graph.values()):
        return None
    samplers = [node for node in graph if graph[node]["class_type"] == _SAMPLER]
    if len(samplers) != 1:
        return None
    inputs = graph[samplers[0]]["inputs"]
    encoders = [_source(graph, inputs.get(side), (_ENCODER,)) for side in PROMPTS.values()]
    latent = _source(graph, inputs.get("latent_image"), _LATENTS)
    if latent is None or None in encoders or len(set(encoders)) != len(encoders):
        return None
    seams = Seams(
        tuple((node, "text") for node in encoders if node is not None),
        (samplers[0], "seed"),
        (latent, "batch_size"),
    )
    return seams if _fit(graph, seams, inputs) else None


def groups(jobs: Iterable[Job], workflow: Workflow, batch: int) -> Iterator[tuple[Job, ...]]:
    """Yield the jobs in groups of at most ``batch`` that can be drawn together.

    A group comes at the place of its first job. Jobs that cannot be merged come alone.
    """
    seams = seams_of(workflow) if batch > 1 else None
    if seams is None:
        yield from ((job,) for job in jobs)
        return
    by_key: dict[str, list[Job]] = {}
    for job in jobs:
        by_key.setdefault(_key(job, workflow, seams), []).append(job)
    for alike in by_key.values():
        yield from (tuple(alike[i : i + batch]) for i in range(0, len(alike), batch))


def merged(jobs: Sequence[Job], workflow: Workflow) -> Graph:
    """Return the graph that draws a group of jobs as one batch, in their order."""
    if len(jobs) == 1:
        return workflow.with_values(jobs[0].values)
    seams = seams_of(workflow)
    assert seams is not None, "only mergeable jobs come in groups"
    graph = workflow.with_values(jobs[0].values)
    for place in seams.texts:
        texts = [_value(job.values, place, workflow) for job in jobs]
        if len(set(texts)) > 1:
            _encode_each(graph[place[0]], texts)
    seeds = [_value(job.values, seams.seed, workflow) for job in jobs]
    graph[seams.seed[0]]["inputs"]["seeds"] = ", ".join(map(str, seeds))
    graph[seams.batch_size[0]]["inputs"]["batch_size"] = len(jobs)
    return graph


def _encode_each(node: dict[str, Any], texts: Sequence[str]) -> None:
    """Make a node for one prompt one for a prompt a line."""
    node["class_type"] = _BATCH_ENCODER
    del node["inputs"]["text"]
    node["inputs"]["texts"] = "\n".join(texts)


def _key(job: Job, workflow: Workflow, seams: Seams) -> str:
    """Return what all jobs of a group have in common.

    A text that is no single line cannot stand in the list of prompts, so it must be common too.
    """
    free = {place for place in seams.texts if _is_one_line(_value(job.values, place, workflow))} | {
        seams.seed
    }
    fixed = {full_name(p): value for p, value in job.values.items() if p not in free}
    return json.dumps([sorted(map(full_name, free)), fixed, _alone(job, seams)], sort_keys=True)


def _alone(job: Job, seams: Seams) -> str:
    """Return what sets a job apart that is a batch by itself; empty for the others."""
    own = (seams.batch_size, (seams.seed[0], "seeds"))
    return job.id if any(place in job.values for place in own) else ""


def _is_one_line(text: str) -> bool:
    return bool(text.strip()) and text.splitlines() == [text]


def _value(values: Values, place: Place, workflow: Workflow) -> Any:
    return values.get(place, workflow.value(place))


def _source(graph: Graph, link: Any, classes: Sequence[str]) -> str | None:
    """Return the node at the other end of a link to a first output, if it is of these classes."""
    if not is_link(link) or link[1] != 0 or link[0] not in graph:
        return None
    return str(link[0]) if graph[link[0]]["class_type"] in classes else None


def _fit(graph: Graph, seams: Seams, sampler: dict[str, Any]) -> bool:
    """Whether the seams hold literal values, and nothing else reads what merging changes."""
    texts = all(isinstance(graph[node]["inputs"].get(name), str) for node, name in seams.texts)
    seed = type(sampler.get("seed")) is int and not sampler.get("seeds")
    single = graph[seams.batch_size[0]]["inputs"].get("batch_size") == 1
    encoders = {node for node, _ in seams.texts}
    links = [
        link
        for node in graph.values()
        for link in node["inputs"].values()
        if is_link(link) and link[0] in encoders
    ]
    return texts and seed and single and len(links) == len(encoders)
