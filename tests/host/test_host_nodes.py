"""Nodes of the host that change a model: each is shown to act on ours."""

from __future__ import annotations

import io
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
    assert np.array_equal(
        acted, pixels(client, with_model(graph(), class_type, **PATCHES[class_type]))
    )


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


@pytest.mark.parametrize("cache", ["EasyCacheNode", "LazyCacheNode"])
def test_a_cache_leaves_out_runs(pack: ModuleType, demo: dict[str, Any], cache: str) -> None:
    from comfy_extras import nodes_easycache
    from pixart_pack.nodes.host.sampler import Settings, sample

    settings = Settings(3, 20, 4.5, "DPM-Solver++", 1.0)
    latent = {"samples": torch.zeros(1, 4, 16, 16)}
    execute = getattr(nodes_easycache, cache).execute
    (cached,) = execute(demo["model"], 0.5, 0.1, 0.95, False).args
    with torch.inference_mode(), counted(demo["model"]) as runs:
        whole, _ = sample(demo["model"], *prompts(), latent, settings)
        before = len(runs)
        short, _ = sample(cached, *prompts(), latent, settings)
    assert before == 20
    assert 5 <= len(runs) - before < 20
    assert not torch.equal(short["samples"], whole["samples"])


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


@pytest.mark.parametrize("save", SAVES)
def test_a_saved_model_draws_the_same(server: HostServer, client: HostClient, save: str) -> None:
    graph = with_model(plain(), "PixArtLora", file="An-Adapter", strength=1.0)
    wanted = pixels(client, graph)
    graph["92"] = {**SAVES[save](), "_meta": {"title": save}}
    graph["92"]["inputs"]["filename_prefix"] = save
    client.run(graph)
    (written,) = (server.base / "output").rglob(f"{save}*.safetensors")
    name = f"saved-{save}.safetensors"
    (server.base / "models" / "diffusion_models" / name).symlink_to(written)
    again = plain()
    again["1"]["inputs"]["file"] = name
    assert np.abs(pixels(client, again) - wanted).max() <= 3


def test_lcm_by_the_hosts_own_nodes(client: HostClient) -> None:
    graph = plain()
    given = graph["6"]["inputs"]
    links = {name: given[name] for name in ("model", "positive", "negative", "latent_image")}
    rest = {"seed": 1, "steps": 4, "cfg": 1.0, "denoise": 1.0}
    graph["6"] = node("KSampler", **links, **rest, sampler_name="lcm", scheduler="sgm_uniform")
    without = pixels(client, graph)
    lcm = with_model(graph, "ModelSamplingDiscrete", sampling="lcm", zsnr=False)
    assert np.abs(pixels(client, lcm) - without).mean() > 0.5
