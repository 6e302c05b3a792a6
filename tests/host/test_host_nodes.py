"""Nodes of the host that change a model: each is shown to act on ours."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from devtools.client import HostClient
from devtools.server import HostServer

from .graphs import STOCK_SAMPLER, Graph, node, text_to_image

Pixels = NDArray[np.float32]
STEPS = 6


def plain(**settings: Any) -> Graph:
    """The graph that the nodes are put into: small, with a negative prompt."""
    return text_to_image(
        PixArtResolution={"width": 128, "height": 128, "batch_size": 1},
        PixArtSampler={"steps": STEPS, "seed": 21, **settings},
        negative={"text": "a green background"},
    )


def with_model(graph: Graph, class_type: str, **inputs: Any) -> Graph:
    """The graph with a node between model and sampler."""
    given = graph["6"]["inputs"]["model"]
    graph["90"] = node(class_type, **{"model": given, **inputs})
    graph["6"]["inputs"]["model"] = ["90", 0]
    return graph


def pixels(client: HostClient, graph: Graph) -> Pixels:
    (image,) = client.run(graph).images()
    return np.asarray(Image.open(io.BytesIO(client.image(image))).convert("RGB"), np.float32)


PATCHES: dict[str, dict[str, Any]] = {
    "RescaleCFG": {"multiplier": 0.7},
    "SkipLayerGuidanceDiT": {
        **{"double_layers": "2, 3", "single_layers": "", "scale": 3.0},
        **{"start_percent": 0.0, "end_percent": 1.0, "rescaling_scale": 0.0},
    },
    "NAGuidance": {"nag_scale": 5.0, "nag_alpha": 0.5, "nag_tau": 1.5},
    "FreSca": {"scale_low": 1.0, "scale_high": 1.8, "freq_cutoff": 3},
}


@pytest.mark.acts("{class_type}")
@pytest.mark.parametrize("class_type", PATCHES)
@pytest.mark.parametrize("sampler", ["PixArtSampler", "KSampler"])
def test_a_patch_acts(client: HostClient, class_type: str, sampler: str) -> None:
    def graph() -> Graph:
        made = plain()
        if sampler == "KSampler":
            given = made["6"]["inputs"]
            names = ("model", "positive", "negative", "latent_image")
            links = {name: given[name] for name in names}
            made["6"] = node("KSampler", **links, **{**STOCK_SAMPLER, "steps": STEPS})
        return made

    without = pixels(client, graph())
    acted = pixels(client, with_model(graph(), class_type, **PATCHES[class_type]))
    assert np.abs(acted - without).mean() > 0.5
    # Or the host would answer from its cache.
    client.free(unload_models=False)
    assert np.array_equal(pixels(client, graph()), without)


@pytest.mark.acts("NAGuidance")
def test_attention_guidance_brings_the_negative_to_a_model_without_guidance(
    client: HostClient,
) -> None:
    """At guidance 1 the negative is not read; with this node it is."""
    settings = PATCHES["NAGuidance"]

    def drawn(negative: str) -> Pixels:
        graph = plain(guidance=1.0)
        graph["4"]["inputs"]["text"] = negative
        return pixels(client, with_model(graph, "NAGuidance", **settings))

    assert np.abs(drawn("a green background") - drawn("a red circle")).mean() > 0.5


@contextmanager
def counted(model: Any) -> Iterator[list[int]]:
    """Count the runs of the network."""
    runs: list[int] = []
    block = model.model.diffusion_model.blocks[0]
    hook = block.register_forward_hook(lambda *_: runs.append(1))
    try:
        yield runs
    finally:
        hook.remove()


def prompts() -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    return [[[torch.randn(1, n, 128, generator=generator), {}]] for n in (6, 2)]


@pytest.mark.acts("{cache}")
@pytest.mark.parametrize("cache", ["EasyCache", "LazyCache"])
def test_a_cache_leaves_out_runs(pack: ModuleType, demo: dict[str, Any], cache: str) -> None:
    from comfy_extras import nodes_easycache
    from pixart_pack.nodes.host.sampler import Settings, sample

    settings = Settings(3, 20, 4.5, "DPM-Solver++", 1.0)
    latent = {"samples": torch.zeros(1, 4, 16, 16)}
    execute = getattr(nodes_easycache, f"{cache}Node").execute
    (cached,) = execute(demo["model"], 0.5, 0.1, 0.95, False).args
    with torch.inference_mode(), counted(demo["model"]) as runs:
        whole, _ = sample(demo["model"], *prompts(), latent, settings)
        before = len(runs)
        short, _ = sample(cached, *prompts(), latent, settings)
    assert before == 20
    assert 5 <= len(runs) - before < 20
    assert not torch.equal(short["samples"], whole["samples"])


@pytest.mark.acts("ModelMergeSimple")
def test_merging_with_a_lora_by_half_is_half_its_strength(client: HostClient) -> None:
    def with_lora(strength: float) -> Graph:
        lora = {"file": "An-Adapter", "strength": strength}
        return with_model(plain(), "PixArtLora", **lora)

    half = pixels(client, with_lora(0.5))
    merged = with_lora(1.0)
    merged["91"] = node("ModelMergeSimple", model1=["1", 0], model2=["90", 0], ratio=0.5)
    merged["6"]["inputs"]["model"] = ["91", 0]
    found = pixels(client, merged)
    assert np.abs(found - half).max() <= 3
    assert np.abs(found - pixels(client, plain())).mean() > 0.5


SAVES: dict[str, Callable[[], dict[str, Any]]] = {
    "ModelSave": lambda: node("ModelSave", model=["90", 0], filename_prefix="merged"),
    "CheckpointSave": lambda: node(
        "CheckpointSave",
        **{"model": ["90", 0], "clip": ["2", 0], "vae": ["7", 0], "filename_prefix": "merged"},
    ),
}


@pytest.mark.acts("{save}")
@pytest.mark.parametrize("save", SAVES)
def test_a_saved_model_draws_the_same(server: HostServer, client: HostClient, save: str) -> None:
    graph = with_model(plain(), "PixArtLora", file="An-Adapter", strength=1.0)
    wanted = pixels(client, graph)
    graph["92"] = {**SAVES[save](), "_meta": {"title": save}}
    graph["92"]["inputs"]["filename_prefix"] = f"with-lora-{save}"
    client.run(graph)
    (written,) = (server.base / "output").rglob(f"with-lora-{save}*.safetensors")
    name = f"saved-{save}.safetensors"
    (server.base / "models" / "diffusion_models" / name).symlink_to(written)
    again = plain()
    again["1"]["inputs"]["file"] = name
    assert np.abs(pixels(client, again) - wanted).max() <= 3


@pytest.mark.acts("ModelSamplingDiscrete")
def test_lcm_by_the_hosts_own_nodes(client: HostClient) -> None:
    graph = plain()
    given = graph["6"]["inputs"]
    links = {name: given[name] for name in ("model", "positive", "negative", "latent_image")}
    rest = {"seed": 1, "steps": 4, "cfg": 1.0, "denoise": 1.0}
    graph["6"] = node("KSampler", **links, **rest, sampler_name="lcm", scheduler="sgm_uniform")
    without = pixels(client, graph)
    lcm = with_model(graph, "ModelSamplingDiscrete", sampling="lcm", zsnr=False)
    assert np.abs(pixels(client, lcm) - without).mean() > 0.5


def prompted(**nodes: dict[str, Any]) -> Graph:
    """The graph with another prompt in node 80; the last given node, or that, is the prompt."""
    graph = plain()
    second = {**graph["3"]["inputs"], "text": "a yellow star on a black background"}
    graph["80"] = {**graph["3"], "inputs": second}
    graph |= nodes
    graph["6"]["inputs"]["positive"] = [list(nodes or ["80"])[-1], 0]
    return graph


TIMES = {"a": {"start": 0.0, "end": 0.5}, "b": {"start": 0.5, "end": 1.0}}

PROMPT_NODES: dict[str, Callable[[], Graph]] = {
    "ConditioningAverage": lambda: prompted(
        a=node(
            "ConditioningAverage",
            **{"conditioning_to": ["3", 0], "conditioning_from": ["80", 0]},
            conditioning_to_strength=0.5,
        )
    ),
    "ConditioningConcat": lambda: prompted(
        a=node("ConditioningConcat", conditioning_to=["3", 0], conditioning_from=["80", 0])
    ),
    "ConditioningCombine": lambda: prompted(
        a=node("ConditioningCombine", conditioning_1=["3", 0], conditioning_2=["80", 0])
    ),
    "ConditioningZeroOut": lambda: prompted(a=node("ConditioningZeroOut", conditioning=["3", 0])),
    "ConditioningSetTimestepRange": lambda: prompted(
        a=node("ConditioningSetTimestepRange", conditioning=["3", 0], **TIMES["a"]),
        b=node("ConditioningSetTimestepRange", conditioning=["80", 0], **TIMES["b"]),
        c=node("ConditioningCombine", conditioning_1=["a", 0], conditioning_2=["b", 0]),
    ),
}


@pytest.mark.acts("{name}")
@pytest.mark.parametrize("name", PROMPT_NODES)
def test_a_prompt_node_acts(client: HostClient, name: str) -> None:
    first = pixels(client, plain())
    found = pixels(client, PROMPT_NODES[name]())
    assert np.abs(found - first).mean() > 0.5


@pytest.mark.acts("ConditioningAverage")
def test_average_goes_from_one_prompt_to_the_other(client: HostClient) -> None:
    def averaged(strength: float) -> Pixels:
        graph = PROMPT_NODES["ConditioningAverage"]()
        graph["a"]["inputs"]["conditioning_to_strength"] = strength
        return pixels(client, graph)

    second = prompted()
    first, other, none = pixels(client, plain()), pixels(client, second), averaged(0.0)
    assert np.abs(averaged(1.0) - first).max() <= 2
    assert np.abs(none - other).mean() < np.abs(none - first).mean() / 2


def test_time_ranges_share_the_steps(client: HostClient) -> None:
    """A range over everything is the prompt itself."""
    graph = prompted(
        a=node("ConditioningSetTimestepRange", conditioning=["3", 0], start=0.0, end=1.0)
    )
    assert np.array_equal(pixels(client, graph), pixels(client, plain()))


def hooked(strength: float) -> Graph:
    """A LoRA on one prompt alone, by the host's hooks."""
    names = {"lora_name": "random.safetensors", "strength_model": strength, "strength_clip": 0.0}
    return prompted(
        a=node("CreateHookLora", **names),
        b=node(
            "ConditioningSetProperties",
            **{"cond_NEW": ["3", 0], "hooks": ["a", 0]},
            **{"strength": 1.0, "set_cond_area": "default"},
        ),
    )


@pytest.mark.acts("CreateHookLora", "ConditioningSetProperties")
def test_a_lora_for_one_prompt(client: HostClient) -> None:
    without = pixels(client, plain())
    assert np.abs(pixels(client, hooked(1.0)) - without).mean() > 0.5
    # Or the host would answer from its cache.
    client.free(unload_models=False)
    assert np.array_equal(pixels(client, plain()), without)


@pytest.mark.acts("VAEDecodeTiled", "LatentComposite")
def test_latents_and_tiles(server: HostServer, client: HostClient) -> None:
    whole = pixels(client, plain())
    tiled = plain()
    tiled["8"] = node(
        "VAEDecodeTiled",
        **{"samples": ["6", 0], "vae": ["7", 0], "tile_size": 64, "overlap": 32},
        **{"temporal_size": 64, "temporal_overlap": 8},
    )
    in_tiles = pixels(client, tiled)
    assert 0 < np.abs(in_tiles - whole).mean() < 8
    composed = plain()
    composed["70"] = node("EmptyLatentImage", width=128, height=128, batch_size=1)
    composed["71"] = node(
        "LatentComposite",
        **{"samples_to": ["6", 0], "samples_from": ["70", 0], "x": 64, "y": 0, "feather": 0},
    )
    composed["8"]["inputs"]["samples"] = ["71", 0]
    found = pixels(client, composed)
    assert np.abs(found[:, :48] - whole[:, :48]).mean() < 8
    assert np.abs(found[:, 80:] - whole[:, 80:]).mean() > 8


@pytest.mark.acts("SaveLatent", "LoadLatent")
def test_a_latent_is_saved_and_loaded(server: HostServer, client: HostClient) -> None:
    graph = plain()
    graph["60"] = node("SaveLatent", samples=["6", 0], filename_prefix="kept")
    result = client.run(graph)
    (file,) = result.outputs["60"]["latents"]
    written = server.base / "output" / file["subfolder"] / file["filename"]
    shutil.copy(written, server.base / "input" / "kept.latent")
    loaded = {i: n for i, n in plain().items() if i in ("7", "8", "9")}
    loaded["60"] = node("LoadLatent", latent="kept.latent")
    loaded["8"]["inputs"]["samples"] = ["60", 0]
    assert np.array_equal(pixels(client, loaded), pixels(client, plain()))
