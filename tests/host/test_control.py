"""ControlNet against the published maths, and in the graph."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resize

from devtools.client import ExecutionFailed, HostClient
from devtools.control import draw, overlap, tasks
from devtools.models import CONTROLNET
from devtools.reference import relative_error
from devtools.server import HostServer
from pixart_core.checkpoint.control import open_control
from pixart_core.checkpoint.layouts import to_diffusers
from pixart_core.checkpoint.opening import open_model
from pixart_core.network import PixArtTransformer
from pixart_core.network.control import PixArtControl
from pixart_core.network.hed import Hed
from pixart_core.network.positions import position_grid

from .conftest import DEMO, random_control
from .graphs import Graph, node, text_to_image

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def base() -> PixArtTransformer:
    """The demo's transformer."""
    opened = open_model(DEMO["diffusion_models"])
    model = PixArtTransformer(opened.info.network)
    model.load_state_dict({key: value.float() for key, value in opened.tensors()})
    return model.eval()


def published(
    base: PixArtTransformer, control: Tensors, x: Tensor, hint: Tensor, t: Tensor, y: Tensor
) -> Tensor:
    """The forward of PixArt-delta as it is written, block by block, without a mask."""
    rows, columns = (side // 2 for side in x.shape[-2:])
    grid = position_grid(rows, columns, 216, base.config.position_range, x.device)
    count = 1 + max(int(key.split(".")[1]) for key in control)
    copies: list[Any] = []
    for index in range(count):
        copied = PixArtControl(open_config(base, count)).controlnet[index]
        prefix = f"controlnet.{index}."
        own = {k.removeprefix(prefix): v for k, v in control.items() if k.startswith(prefix)}
        copied.load_state_dict(own)
        copies.append(copied)
    time = base.t_embedder(t, torch.float32)
    t0 = base.t_block(time).unflatten(-1, (6, -1))
    caption = base.y_embedder(y)
    beside: tuple[Any, ...] = (caption, t0, None, (rows, columns), {})
    c = base.x_embedder(hint) + grid
    tokens = base.blocks[0](base.x_embedder(x) + grid, *beside)
    for index in range(1, count + 1):
        copied = copies[index - 1]
        if index == 1:
            c = copied.copied_block(tokens + copied.before_proj(c), *beside)
        else:
            c = copied.copied_block(c, *beside)
        tokens = base.blocks[index](tokens + copied.after_proj(c), *beside)
    for index in range(count + 1, base.config.depth):
        tokens = base.blocks[index](tokens, *beside)
    return base._unpatchify(base.final_layer(tokens, time), rows, columns)


def open_config(base: PixArtTransformer, depth: int) -> Any:
    return replace(base.config, depth=depth)


@torch.no_grad()
def test_the_branch_is_the_published_maths(base: PixArtTransformer) -> None:
    control = random_control()
    branch = PixArtControl(open_config(base, 3))
    branch.load_state_dict(control)
    x, hint = torch.randn(2, 4, 16, 24), torch.randn(2, 4, 16, 24)
    t, y = torch.tensor([500.0, 20.0]), torch.randn(2, 7, 128)
    skips = branch(base, x, hint, t, y)
    wanted = published(base, control, x, hint, t, y)
    assert relative_error(base(x, t, y, skips=skips), wanted) <= 1e-5
    assert relative_error(base(x, t, y), wanted) > 1e-2


def official(control: Tensors) -> Tensors:
    inside = {f"base_model.blocks.0.x{i}": torch.zeros(2) for i in range(2)}
    return {**control, **inside}


def research(control: Tensors) -> Tensors:
    """As diffusers' research project names them."""
    out: Tensors = {}
    for index in range(3):
        block = f"controlnet.{index}.copied_block."
        own = {
            f"blocks.{index}.{key.removeprefix(block)}": value
            for key, value in control.items()
            if key.startswith(block)
        }
        for key, value in to_diffusers(own).items():
            name = key.removeprefix(f"transformer_blocks.{index}.")
            out[f"controlnet_blocks.{index}.transformer_block.{name}"] = value.contiguous()
    rest = {key: value for key, value in control.items() if "copied_block" not in key}
    return out | {key.replace("controlnet.", "controlnet_blocks."): v for key, v in rest.items()}


@pytest.mark.parametrize("layout", [official, dict, research])
@pytest.mark.parametrize("wrapped", [False, True], ids=["safetensors", "pth"])
def test_every_layout_is_the_same_branch(
    layout: Callable[[Tensors], Tensors], wrapped: bool, tmp_path: Path
) -> None:
    control = random_control()
    if wrapped:
        path = tmp_path / "control.pth"
        torch.save({"state_dict": layout(control)}, path)
    else:
        path = tmp_path / "control.safetensors"
        save_file(layout(control), path)
    opened = open_control(path)
    assert opened.network.depth == 3
    assert opened.tensors.keys() == control.keys()
    assert all(torch.equal(opened.tensors[key], control[key]) for key in control)


def test_files_that_are_no_controlnet(tmp_path: Path) -> None:
    path = tmp_path / "control.safetensors"
    save_file({"controlnet.0.other": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="is no PixArt ControlNet"):
        open_control(path)
    broken = random_control()
    del broken["controlnet.1.after_proj.bias"]
    save_file(broken, path)
    with pytest.raises(ValueError, match="The ControlNet is damaged"):
        open_control(path)


def controlled(strength: float = 1.0, vae: bool = True, **more: Any) -> Graph:
    """The graph with a ControlNet on both prompts, its picture a white disc on black."""
    small = {"width": 128, "height": 128, "batch_size": 1}
    sampler = {"steps": 4, "seed": 14}
    graph = text_to_image(PixArtResolution=small, PixArtSampler=sampler)
    graph["50"] = node("PixArtControlNetLoader", file="random-control.safetensors")
    graph["51"] = node("EmptyImage", width=96, height=128, batch_size=1, color=0xFFFFFF)
    whole = {"strength": strength, "start_percent": 0.0, "end_percent": 1.0, **more}
    links = {"positive": ["3", 0], "negative": ["4", 0], "control_net": ["50", 0]}
    if vae:
        links["vae"] = ["7", 0]
    graph["52"] = node("ControlNetApplyAdvanced", **links, image=["51", 0], **whole)
    graph["6"]["inputs"] |= {"positive": ["52", 0], "negative": ["52", 1]}
    return graph


def pixels(client: HostClient, graph: Graph) -> np.ndarray:
    (image,) = client.run(graph).images()
    return np.asarray(Image.open(io.BytesIO(client.image(image))).convert("RGB"), np.float32)


@pytest.mark.acts("ControlNetApplyAdvanced")
def test_a_controlnet_acts_with_its_strength_and_range(client: HostClient) -> None:
    plain = controlled()
    plain["6"]["inputs"] |= {"positive": ["3", 0], "negative": ["4", 0]}
    without = pixels(client, plain)
    full, weak = pixels(client, controlled()), pixels(client, controlled(0.3))
    late = pixels(client, controlled(start_percent=0.9))
    assert np.array_equal(pixels(client, controlled(0.0)), without)
    far = [np.abs(picture - without).mean() for picture in (late, weak, full)]
    assert 0 < far[1] < far[2]
    assert far[0] < far[2]


def test_the_demo_s_own_is_followed(server: HostServer, client: HostClient) -> None:
    with_it, without = (
        mean(overlap(draw(server, client, CONTROLNET, task, strength), task) for task in few)
        for few in [tasks()[:6]]
        for strength in (1.0, 0.0)
    )
    assert with_it >= 0.75
    assert without <= 0.5


def test_two_controlnets_add_up(client: HostClient) -> None:
    graph = controlled(0.4)
    links = {"positive": ["52", 0], "negative": ["52", 1], "control_net": ["50", 0]}
    values = {"strength": 0.4, "start_percent": 0.0, "end_percent": 1.0}
    graph["53"] = node("ControlNetApplyAdvanced", **links, **values, image=["51", 0], vae=["7", 0])
    graph["6"]["inputs"] |= {"positive": ["53", 0], "negative": ["53", 1]}
    assert np.abs(pixels(client, graph) - pixels(client, controlled(0.8))).max() <= 2


@pytest.mark.parametrize("sampler", ["KSampler", "PixArtSampler"])
def test_a_controlnet_in_both_samplers(client: HostClient, sampler: str) -> None:
    graph = controlled()
    if sampler == "KSampler":
        given = graph["6"]["inputs"]
        links = {name: given[name] for name in ("model", "positive", "negative", "latent_image")}
        rest = {"seed": 14, "steps": 4, "cfg": 4.5, "denoise": 1.0}
        names = {"sampler_name": "dpmpp_2m", "scheduler": "sgm_uniform"}
        graph["6"] = node("KSampler", **links, **rest, **names)
    controlled_picture = pixels(client, graph)
    graph["6"]["inputs"] |= {"positive": ["3", 0], "negative": ["4", 0]}
    assert np.abs(controlled_picture - pixels(client, graph)).mean() > 0.5


def test_a_controlnet_for_a_part_of_the_picture(client: HostClient) -> None:
    graph = controlled()
    graph["60"] = node("SolidMask", value=1.0, width=64, height=128)
    graph["61"] = node(
        "ConditioningSetMask",
        **{"conditioning": ["52", 0], "mask": ["60", 0], "strength": 1.0},
        set_cond_area="mask bounds",
    )
    graph["6"]["inputs"]["positive"] = ["61", 0]
    with_control = pixels(client, graph)
    graph["61"]["inputs"]["conditioning"] = ["3", 0]
    assert np.abs(with_control - pixels(client, graph)).mean() > 0.5


def test_a_controlnet_without_a_vae_or_for_another_model(client: HostClient) -> None:
    with pytest.raises(ExecutionFailed, match="needs a VAE"):
        client.run(controlled(vae=False))
    graph = controlled()
    graph["50"]["inputs"]["file"] = "wide-control.safetensors"
    with pytest.raises(ExecutionFailed, match="The ControlNet does not fit this model"):
        client.run(graph)


def test_the_pack_lists_controlnets(pack: ModuleType, client: HostClient) -> None:
    listed = client.object_info("PixArtControlNetLoader")["PixArtControlNetLoader"]["input"]
    names = listed["required"]["file"][1].get("options") or listed["required"]["file"][0]
    assert {"random-control.safetensors", "wide-control.safetensors"} <= set(names)


def hed_tensors() -> Tensors:
    """The annotator's tensors with random values."""
    generator = torch.Generator().manual_seed(2)
    return {
        key: value.shape[1:].numel() ** -0.5 * torch.randn(value.shape, generator=generator)
        if value.ndim > 1
        else torch.zeros(value.shape)
        for key, value in Hed().state_dict().items()
    }


def published_edges(weights: Tensors, picture: Tensor) -> Tensor:
    """The annotator as it is published, layer by layer; the picture is (H, W, 3) in 0..1."""
    x = picture.permute(2, 0, 1)[None] * 255 - weights["norm"]
    maps = []
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        if block > 1:
            x = torch.nn.functional.max_pool2d(x, 2, 2)
        for i in range(count):
            name = f"block{block}.convs.{i}"
            conv = torch.nn.functional.conv2d
            x = conv(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1).relu()
        name = f"block{block}.projection"
        side = torch.nn.functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
        maps.append(resize(side, list(picture.shape[:2]), InterpolationMode.BILINEAR))
    return torch.cat(maps, 1).mean(1)[0].sigmoid()


def test_edges_are_the_published_annotators(pack: ModuleType, tmp_path: Path) -> None:
    from pixart_pack.nodes.host.hed import hed_edges

    weights = hed_tensors()
    path = tmp_path / "ControlNetHED.pth"
    torch.save(weights, path)
    image = torch.rand(2, 48, 36, 3)
    found = hed_edges(image, path)
    assert found.shape == image.shape
    for row in range(2):
        assert relative_error(found[row, ..., 0], published_edges(weights, image[row])) <= 1e-5
    with pytest.raises(ValueError, match="16 pixels or more a side"):
        hed_edges(torch.rand(1, 8, 64, 3), path)
    torch.save({**weights, "norm": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="The HED annotator is damaged"):
        hed_edges(image, path)
