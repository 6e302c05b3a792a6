"""Sizes in the graph: tables, aspects, images, and what the model is told of them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from devtools.client import ExecutionFailed, HostClient, Rejected, Result
from devtools.reference import FAMILIES, Scale, diffusers_transformer, relative_error
from devtools.server import HostServer
from pixart_core.buckets import TABLES, table_of
from pixart_core.checkpoint.layouts import to_original

from .graphs import node, text_to_image

WIDE = "16:9 landscape · 1344 × 768"


def chosen(client: HostClient, **inputs: Any) -> Result:
    """Run PixArt Resolution alone, with its size shown by the host."""
    graph = {i: n for i, n in text_to_image().items() if n["class_type"] == "PixArtModelLoader"}
    graph["5"] = node("PixArtResolution", **{"width": 64, "height": 64, "batch_size": 1, **inputs})
    graph["10"] = node("PreviewAny", source=["5", 1])
    graph["11"] = node("PreviewAny", source=["5", 2])
    graph["12"] = node("SaveLatent", samples=["5", 0], filename_prefix="size")
    graph["20"] = node("SolidMask", value=1.0, width=500, height=300)
    graph["21"] = node("MaskToImage", mask=["20", 0])
    graph["30"] = node("PrimitiveInt", value=0)
    return client.run(graph)


def size(result: Result) -> tuple[int, int]:
    width, height = (int(result.outputs[i]["text"][0]) for i in ("10", "11"))
    return width, height


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ({}, (64, 64)),
        ({"sizing": "aspect ratio", "aspect": WIDE}, (1344, 768)),
        ({"sizing": "aspect ratio", "aspect": WIDE, "model": ["1", 0]}, (336, 192)),
        ({"sizing": "aspect ratio", "aspect": WIDE, "table": "2K", "swap": True}, (1536, 2688)),
        (
            {"sizing": "nearest trained size", "width": 1920, "height": 1081, "table": "512"},
            (672, 384),
        ),
        ({"sizing": "like the image", "image": ["21", 0]}, (640, 384)),
        ({"sizing": "like the image", "image": ["21", 0], "model": ["1", 0]}, (320, 192)),
    ],
    ids=str,
)
def test_a_size_is_chosen(
    client: HostClient, inputs: dict[str, Any], found: tuple[int, int]
) -> None:
    assert size(chosen(client, **inputs)) == found


def test_a_batch_and_what_is_said(server: HostServer, client: HostClient) -> None:
    from safetensors.torch import load_file

    result = chosen(client, batch_size=3, width=240, height=256, model=["1", 0])
    (file,) = result.outputs["12"]["latents"]
    latent = load_file(server.base / "output" / file["subfolder"] / file["filename"])
    assert latent["latent_tensor"].shape == (3, 4, 32, 30)
    assert result.outputs["5"]["text"] == ["240 × 256, of the 256 table"]
    odd = chosen(client, width=400, height=400, model=["1", 0]).outputs["5"]["text"][0]
    assert odd.startswith("400 × 400 is not among the sizes of the 256 table")


def test_sizes_that_are_refused(client: HostClient) -> None:
    with pytest.raises(Rejected, match="found a width of 1921, expected a multiple of 16"):
        chosen(client, width=1921)
    with pytest.raises(Rejected, match="found a height of 9000, expected a number from 16 to 8192"):
        chosen(client, sizing="nearest trained size", height=9000)
    with pytest.raises(ExecutionFailed, match="found nothing connected to image"):
        chosen(client, sizing="like the image")
    for sizing in ("exact size", "nearest trained size"):
        with pytest.raises(ExecutionFailed, match="found a width of 0, expected"):
            chosen(client, sizing=sizing, width=["30", 0])
    with pytest.raises(Rejected, match="Value not in list: aspect"):
        chosen(client, sizing="aspect ratio", aspect="round")


@pytest.fixture(scope="module")
def smallest(pack: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A MODEL that is told sizes, of one head and one layer."""
    from pixart_pack.nodes.host.loading import load_model

    (family,) = (family for family in FAMILIES if family.name == "alpha-1024")
    weights = to_original(diffusers_transformer(family, Scale(1, 1, 64)).state_dict())
    path: Path = tmp_path_factory.mktemp("smallest") / "smallest.safetensors"
    save_file({key: value.contiguous() for key, value in weights.items()}, path)
    return load_model(path, "alpha-1024", "fp32").patcher


def drawn(patcher: Any, latent: dict[str, Any], prompt: Any = None) -> Tensor:
    from pixart_pack.nodes.host.sampler import Settings, sample

    generator = torch.Generator().manual_seed(1)
    prompt = prompt or [[torch.randn(1, 5, 64, generator=generator), {}]]
    with torch.inference_mode():
        out, _ = sample(patcher, prompt, prompt, latent, Settings(0, 1, 1.0, "DPM-Solver++", 1.0))
    found: Tensor = out["samples"]
    return found


@pytest.mark.parametrize("side", TABLES)
def test_every_bucket_of_every_table_samples(smallest: Any, side: int) -> None:
    from pixart_pack.nodes.host.latent import empty_latent

    for bucket in table_of(side):
        found = drawn(smallest, empty_latent(bucket.width, bucket.height, 1))
        assert found.shape == (1, 4, bucket.height // 8, bucket.width // 8)
        assert torch.isfinite(found).all()


def test_the_model_is_told_the_latents_size_unless_another_is_set(
    smallest: Any, demo: dict[str, Any]
) -> None:
    from pixart_pack.nodes.host.latent import empty_latent, with_size

    prompt = [[torch.randn(1, 5, 64, generator=torch.Generator().manual_seed(1)), {}]]
    latent = empty_latent(256, 192, 1)
    follows, same, other = (
        drawn(smallest, latent, conditioning)
        for conditioning in (prompt, with_size(prompt, 256, 192), with_size(prompt, 1024, 768))
    )
    assert torch.equal(follows, same)
    assert relative_error(other, follows) > 1e-3
    assert prompt[0][1] == {}
    plain = [[torch.randn(1, 5, 128, generator=torch.Generator().manual_seed(1)), {}]]
    ignored = (drawn(demo["model"], latent, p) for p in (plain, with_size(plain, 1024, 768)))
    assert torch.equal(*ignored)


def test_the_hosts_own_size_node_tells_the_same(pack: ModuleType, demo: dict[str, Any]) -> None:
    from comfy_extras.nodes_pixart import CLIPTextEncodePixArtAlpha
    from pixart_pack.nodes.host.latent import with_size

    (theirs,) = CLIPTextEncodePixArtAlpha.execute(
        clip=demo["clip"], width=640, height=384, text="a circle"
    ).args
    ((_, extra),) = with_size([[torch.zeros(1, 1, 1), {}]], 640, 384)
    assert {key: theirs[0][1][key] for key in extra} == extra


def test_only_pixart_models_have_trained_sizes(pack: ModuleType) -> None:
    from pixart_pack.nodes.host.latent import size_of
    from pixart_pack.pixart_core.resolution import Wish

    class Other:
        model = torch.nn.Linear(1, 1)

    with pytest.raises(ValueError, match="sizes cannot be taken from this model: found a Linear"):
        size_of(Wish("aspect ratio"), "auto", Other(), None)
