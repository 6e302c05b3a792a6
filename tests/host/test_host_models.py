"""Samplers of the host, and nodes that merge, compile, save or move models, on ours."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from devtools.client import HostClient
from devtools.server import HostServer

from .conftest import DEMO
from .graphs import STOCK_SAMPLER, Graph, node
from .test_host_nodes import STEPS, pixels, plain, with_model

LINKS = ("model", "positive", "negative", "latent_image")


def links_of(graph: Graph) -> dict[str, Any]:
    """What the graph's sampler is connected to."""
    return {name: graph["6"]["inputs"][name] for name in LINKS}


@pytest.mark.acts("KSampler", "KSamplerAdvanced")
def test_the_advanced_sampler_in_two_parts_is_the_whole(client: HostClient) -> None:
    whole = plain()
    whole["6"] = node("KSampler", **links_of(whole), **{**STOCK_SAMPLER, "steps": STEPS})
    wanted = pixels(client, whole)
    parts = plain()
    links = links_of(parts)
    settings = {"noise_seed": 0, "steps": STEPS, "cfg": 4.5}
    names = {"sampler_name": "euler", "scheduler": "sgm_uniform"}
    first = {"add_noise": "enable", "start_at_step": 0, "end_at_step": 3}
    rest = {"add_noise": "disable", "start_at_step": 3, "end_at_step": 10000}
    parts["6"] = node(
        "KSamplerAdvanced",
        **{**links, **settings, **names, **first, "return_with_leftover_noise": "enable"},
    )
    parts["61"] = node(
        "KSamplerAdvanced",
        **{**links, **settings, **names, **rest, "latent_image": ["6", 0]},
        return_with_leftover_noise="disable",
    )
    parts["8"]["inputs"]["samples"] = ["61", 0]
    whole["6"]["inputs"]["sampler_name"] = "euler"
    euler = pixels(client, whole)
    assert np.abs(pixels(client, parts) - euler).max() <= 2
    assert np.abs(euler - wanted).mean() > 0.01


@pytest.mark.acts("SamplerCustom")
def test_our_solver_and_schedule_in_the_custom_sampler(client: HostClient) -> None:
    graph = plain(solver="DDIM")
    wanted = pixels(client, graph)
    links = links_of(graph)
    schedule = {"solver": "DDIM", "steps": STEPS, "denoise": 1.0, "start_step": 0}
    graph["42"] = node("PixArtSolver", solver="DDIM")
    graph["43"] = node("PixArtSchedule", model=["1", 0], **schedule, end_step=10000)
    graph["6"] = node(
        "SamplerCustom",
        **{**links, "add_noise": True, "noise_seed": 21, "cfg": 4.5},
        **{"sampler": ["42", 0], "sigmas": ["43", 0]},
    )
    assert np.array_equal(pixels(client, graph), wanted)


def merged(client: HostClient, last: str, **nodes: dict[str, Any]) -> np.ndarray:
    """The picture of a graph in which node 90 is the model with a LoRA and ``last`` is drawn."""
    graph = with_model(plain(), "PixArtLora", file="An-Adapter", strength=1.0)
    graph |= nodes
    graph["6"]["inputs"]["model"] = [last, 0]
    return pixels(client, graph)


BOTH = {"model1": ["1", 0], "model2": ["90", 0]}


@pytest.mark.acts("ModelMergeSubtract", "ModelMergeAdd")
def test_merging_by_difference(client: HostClient) -> None:
    whole = merged(client, "90")
    swapped = {"model1": ["90", 0], "model2": ["1", 0]}
    again = merged(
        client,
        "b",
        a=node("ModelMergeSubtract", **swapped, multiplier=1.0),
        b=node("ModelMergeAdd", model1=["1", 0], model2=["a", 0]),
    )
    assert np.abs(again - whole).max() <= 3
    assert np.abs(whole - merged(client, "1")).mean() > 0.5


@pytest.mark.acts("ModelMergeWAN2_1")
def test_merging_block_by_block(client: HostClient) -> None:
    """The host's node for another transformer names its blocks as ours are named."""
    described = client.object_info("ModelMergeWAN2_1")["ModelMergeWAN2_1"]["input"]["required"]
    names = [name for name in described if not name.startswith("model")]

    def with_ratios(of_block_4: float, of_others: float) -> np.ndarray:
        ratios = {name: of_block_4 if name == "blocks.4." else of_others for name in names}
        return merged(client, "a", a=node("ModelMergeWAN2_1", **BOTH, **ratios))

    first, second = merged(client, "1"), merged(client, "90")
    assert np.array_equal(with_ratios(1.0, 1.0), first)
    assert np.abs(with_ratios(0.0, 0.0) - second).max() <= 1
    one = with_ratios(0.0, 1.0)
    assert np.abs(one - first).mean() > 0.05
    assert np.abs(one - second).mean() > 0.05


def test_the_node_for_unet_blocks_knows_one_ratio_here(client: HostClient) -> None:
    """As the page says of what cannot act."""
    simple = merged(client, "a", a=node("ModelMergeSimple", **BOTH, ratio=0.25))
    blocks = {"input": 0.25, "middle": 0.9, "out": 0.6}
    assert np.array_equal(merged(client, "a", a=node("ModelMergeBlocks", **BOTH, **blocks)), simple)


@pytest.mark.acts("TorchCompileModel")
def test_a_compiled_model_draws_the_same(pack: ModuleType, demo: dict[str, Any]) -> None:
    import torch._dynamo
    from comfy_extras.nodes_torch_compile import TorchCompileModel
    from pixart_pack.nodes.host.sampler import Settings, sample

    from .test_host_nodes import prompts

    latent = {"samples": torch.zeros(1, 4, 8, 8)}
    settings = Settings(3, 2, 1.0, "Euler", 1.0)
    with torch.inference_mode():
        wanted, _ = sample(demo["model"], *prompts(), latent, settings)
        torch._dynamo.utils.counters.clear()
        # The node's own choices need a C++ compiler here; what is captured is the same.
        (compiled,) = TorchCompileModel.execute(demo["model"], "aot_eager").args
        found, _ = sample(compiled, *prompts(), latent, settings)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1
    difference = (found["samples"] - wanted["samples"]).norm() / wanted["samples"].norm()
    assert difference < 1e-4


@pytest.mark.acts("CLIPSave")
def test_a_saved_text_encoder_reads_the_same(server: HostServer, client: HostClient) -> None:
    graph = plain()
    wanted = pixels(client, graph)
    graph["70"] = node("CLIPSave", clip=["2", 0], filename_prefix="kept-t5")
    client.run(graph)
    (written,) = (server.base / "output").rglob("kept-t5*.safetensors")
    shutil.copy(written, server.base / "models" / "text_encoders" / "kept-t5.safetensors")
    again = plain()
    again["2"]["inputs"]["file"] = "kept-t5.safetensors"
    assert np.abs(pixels(client, again) - wanted).max() <= 1


def upscaler(path: Path) -> None:
    """Write a tiny network of a kind that the host knows (SRVGGNetCompact), twice as large."""
    generator = torch.Generator().manual_seed(0)
    sizes = {"0": (8, 3, 3, 3), "2": (8, 8, 3, 3), "4": (12, 8, 3, 3)}
    tensors = {}
    for layer, size in sizes.items():
        tensors[f"body.{layer}.weight"] = 0.01 * torch.randn(size, generator=generator)
        tensors[f"body.{layer}.bias"] = torch.zeros(size[0])
    tensors |= {f"body.{layer}.weight": torch.full((8,), 0.25) for layer in ("1", "3")}
    save_file(tensors, path)


@pytest.mark.acts("ImageUpscaleWithModel", "UpscaleModelLoader")
def test_a_picture_is_upscaled(server: HostServer, client: HostClient) -> None:
    folder = server.base / "models" / "upscale_models"
    folder.mkdir(exist_ok=True)
    upscaler(folder / "tiny.safetensors")
    graph = plain()
    whole = pixels(client, graph)
    graph["71"] = node("UpscaleModelLoader", model_name="tiny.safetensors")
    graph["72"] = node("ImageUpscaleWithModel", upscale_model=["71", 0], image=["8", 0])
    graph["9"]["inputs"]["images"] = ["72", 0]
    large = pixels(client, graph)
    assert large.shape == (256, 256, 3)
    # The network adds little to the nearest pixel.
    assert np.abs(large[::2, ::2] - whole).mean() < 12


@pytest.mark.acts("SelectModelDevice", "SelectCLIPDevice")
def test_where_model_and_text_encoder_run(pack: ModuleType) -> None:
    nodes_multigpu = pytest.importorskip("comfy_extras.nodes_multigpu", reason="a later ComfyUI")
    from pixart_pack.nodes.host import loading, text_encoder

    model = loading.load_model(DEMO["diffusion_models"], "auto", "fp32").patcher
    clip = text_encoder.load_text_encoder(DEMO["text_encoders"], "fp32", "auto")
    elsewhere = torch.device("meta")
    model.load_device = clip.patcher.load_device = elsewhere
    (moved,) = nodes_multigpu.SelectModelDeviceNode.execute(model, "cpu").args
    (reader,) = nodes_multigpu.SelectCLIPDeviceNode.execute(clip, "cpu").args
    assert moved.load_device == moved.offload_device == torch.device("cpu")
    assert reader.patcher.load_device == torch.device("cpu")
    # By what the host was given for it, the model is loaded anew.
    factory, given = model.cached_patcher_init
    weights, copied = (m.model.diffusion_model.state_dict() for m in (model, factory(*given)))
    assert all(torch.equal(weights[key], copied[key]) for key in weights)
    assert not any(weights[key].data_ptr() == copied[key].data_ptr() for key in weights)
