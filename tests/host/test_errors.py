"""Bad input reaches the user as a sentence, and the next prompt works."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from devtools.client import ExecutionFailed, HostClient, Rejected

from .graphs import text_to_image

STOCK_LATENT = {
    "class_type": "EmptyLatentImage",
    "inputs": {"width": 264, "height": 256, "batch_size": 1},
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such model": (
        {"PixArtModelLoader": {"file": "none.safetensors"}},
        "Value not in list: file: 'none.safetensors' not in",
    ),
    "no such T5": (
        {"PixArtT5Loader": {"file": "../t5-demo.safetensors"}},
        "Value not in list: file",
    ),
    "a path that leads out": (
        {"PixArtModelLoader": {"file": "../vae/vae-demo.safetensors"}},
        "Value not in list: file",
    ),
    "an absolute path": (
        {"PixArtModelLoader": {"file": "/etc/hostname"}},
        "Value not in list: file",
    ),
    "a folder without a transformer": (
        {"PixArtModelLoader": {"file": "no-transformer"}},
        "Value not in list: file",
    ),
    "compression": ({"PixArtModelLoader": {"kv_factor": 1}}, "Value 1 smaller than min of 2"),
    "width": (
        {"PixArtResolution": {"width": 250}},
        "found a width of 250, expected a multiple of 16 from 16 to 8192. Set it to 256.",
    ),
    "height": ({"PixArtResolution": {"height": 8}}, "found a height of 8"),
    "huge": ({"PixArtResolution": {"height": 9000}}, "Set it to 8192."),
    "no steps": ({"PixArtSampler": {"steps": 0}}, "Value 0 smaller than min of 1: steps"),
    "ten thousand steps": (
        {"PixArtSampler": {"steps": 10000}},
        "Value 10000 bigger than max of 999: steps",
    ),
    "more than all noise": (
        {"PixArtSampler": {"denoise": 1.5}},
        "Value 1.5 bigger than max of 1.0: denoise",
    ),
    "no pictures": ({"PixArtResolution": {"batch_size": 0}}, "Value 0 smaller than min of 1"),
    "solver": ({"PixArtSampler": {"solver": "magic"}}, "Value not in list: solver"),
}

FAILING: dict[str, tuple[dict[str, Any], str, str]] = {
    "truncated": (
        {"PixArtModelLoader": {"file": "truncated.safetensors"}},
        "PixArtModelLoader",
        "truncated.safetensors cannot be read: found a damaged file",
    ),
    "empty": (
        {"PixArtModelLoader": {"file": "empty.safetensors"}},
        "PixArtModelLoader",
        "empty.safetensors cannot be read: found an empty file",
    ),
    "text": (
        {"PixArtModelLoader": {"file": "text.safetensors"}},
        "PixArtModelLoader",
        "expected a whole safetensors file",
    ),
    "stable diffusion": (
        {"PixArtModelLoader": {"file": "sd15.safetensors"}},
        "PixArtModelLoader",
        "found a Stable Diffusion checkpoint, expected a PixArt transformer. Use Load Checkpoint",
    ),
    "unet of diffusers": (
        {"PixArtModelLoader": {"file": "unet.safetensors"}},
        "PixArtModelLoader",
        "found a Stable Diffusion UNet, expected a PixArt transformer. Use Load Diffusion Model",
    ),
    "t5 as model": (
        {"PixArtModelLoader": {"file": "t5-as-model.safetensors"}},
        "PixArtModelLoader",
        "found a T5 text encoder, expected a PixArt transformer. Use Load T5 for PixArt",
    ),
    "a block missing": (
        {"PixArtModelLoader": {"file": "gap.safetensors"}},
        "PixArtModelLoader",
        "missing (blocks.3.attn.proj.bias",
    ),
    "not finite": (
        {"PixArtModelLoader": {"file": "infinite.safetensors"}},
        "PixArtModelLoader",
        "found numbers that are not finite in blocks.5.mlp.fc2.bias, expected finite numbers",
    ),
    "wrong shape": (
        {"PixArtModelLoader": {"file": "shape.safetensors"}},
        "PixArtModelLoader",
        "1 of another shape (blocks.5.mlp.fc2.bias)",
    ),
    "both layouts": (
        {"PixArtModelLoader": {"file": "both.safetensors"}},
        "PixArtModelLoader",
        "found tensors under diffusers' names and under PixArt's own, expected one of both",
    ),
    "ltx": (
        {"PixArtModelLoader": {"file": "ltx.safetensors"}},
        "PixArtModelLoader",
        "found an LTX-Video model, expected a PixArt transformer",
    ),
    "sana": (
        {"PixArtModelLoader": {"file": "sana.safetensors"}},
        "PixArtModelLoader",
        "found a Sana model, expected a PixArt transformer",
    ),
    "malicious": (
        {"PixArtModelLoader": {"file": "bad.pth"}},
        "PixArtModelLoader",
        "found a file that holds more than tensors, or is damaged",
    ),
    "variant against the tensors": (
        {"PixArtModelLoader": {"variant": "alpha-1024"}},
        "PixArtModelLoader",
        "cannot be loaded as alpha-1024: found tensors that only fit alpha-256",
    ),
    "model as t5": (
        {"PixArtT5Loader": {"file": "model-as-t5.safetensors"}},
        "PixArtT5Loader",
        "found a PixArt model (Load PixArt Model takes it), expected a T5 v1.1 encoder",
    ),
    "truncated t5": (
        {"PixArtT5Loader": {"file": "truncated-t5.safetensors"}},
        "PixArtT5Loader",
        "truncated-t5.safetensors cannot be read",
    ),
}


_SEEDS = itertools.count(1000)


@pytest.fixture(autouse=True)
def _next_prompt_works(client: HostClient) -> Iterator[None]:
    yield
    # A new seed, or the host would answer from its cache without running anything.
    few = {"width": 64, "height": 64}
    settings = {"steps": 1, "seed": next(_SEEDS)}
    result = client.run(text_to_image(PixArtResolution=few, PixArtSampler=settings))
    assert result.images()
    assert any(e.kind == "executing" and e.data["node"] == "6" for e in result.events)


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_it_runs(client: HostClient, case: str) -> None:
    inputs, sentence = REFUSED[case]
    with pytest.raises(Rejected) as refusal:
        client.run(text_to_image(**inputs))
    assert sentence in str(refusal.value)


@pytest.mark.parametrize("case", FAILING)
def test_fails_with_a_sentence(client: HostClient, case: str) -> None:
    inputs, node, sentence = FAILING[case]
    with pytest.raises(ExecutionFailed) as failure:
        client.run(text_to_image(**inputs))
    assert failure.value.node_type == node
    assert sentence in failure.value.message


def test_a_stock_latent_out_of_step_gets_a_sentence(client: HostClient) -> None:
    graph = {**text_to_image(), "5": STOCK_LATENT}
    with pytest.raises(ExecutionFailed, match="found 264 × 256 pixels, expected multiples of 16"):
        client.run(graph)


def test_a_linked_size_out_of_step_gets_a_sentence(client: HostClient) -> None:
    number = {"class_type": "PrimitiveInt", "inputs": {"value": 100}}
    graph = {**text_to_image(PixArtResolution={"width": ["50", 0]}), "50": number}
    with pytest.raises(ExecutionFailed, match=r"found a width of 100.*Set it to 96"):
        client.run(graph)


@pytest.mark.parametrize(
    "node",
    [
        {"class_type": "ModelSamplingSD3", "inputs": {"model": ["1", 0], "shift": 3.0}},
        {
            "class_type": "ModelSamplingDiscrete",
            "inputs": {"model": ["1", 0], "sampling": "lcm", "zsnr": False},
        },
    ],
    ids=lambda node: node["class_type"],
)
def test_another_noise_schedule_is_refused(client: HostClient, node: dict[str, Any]) -> None:
    graph = {**text_to_image(PixArtSampler={"model": ["60", 0]}), "60": node}
    with pytest.raises(ExecutionFailed, match="Remove the ModelSampling node"):
        client.run(graph)


def test_a_vae_is_no_model(client: HostClient) -> None:
    graph = text_to_image(PixArtSampler={"model": ["7", 0]})
    with pytest.raises(Rejected, match="Return type mismatch"):
        client.run(graph)


def test_the_malicious_file_ran_nothing(bad_models: dict[str, list[Path]]) -> None:
    (path,) = (path for path in bad_models["diffusion_models"] if path.name == "bad.pth")
    assert not (path.parent / "witness").exists()


def test_nothing_of_a_half_loaded_model_stays(
    pack: ModuleType, bad_models: dict[str, list[Path]]
) -> None:
    from pixart_pack.nodes.host.loading import load_model
    from pixart_pack.nodes.host.model import HostTransformer

    def alive() -> int:
        gc.collect()
        return sum(type(thing) is HostTransformer for thing in gc.get_objects())

    before = alive()
    (path,) = (p for p in bad_models["diffusion_models"] if p.name == "infinite.safetensors")
    with pytest.raises(ValueError, match="not finite"):
        load_model(path, "auto", "fp32")
    assert alive() == before
