"""Every family in the host: the same output as diffusers', in every layout and at every size."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from devtools.reference import (
    FAMILIES,
    TINY,
    ReferenceFamily,
    diffusers_output,
    diffusers_transformer,
    relative_error,
)
from pixart_core.buckets import buckets_of
from pixart_core.checkpoint.layouts import to_original
from pixart_core.network import NetworkConfig, PixArtTransformer
from pixart_core.network.config import KVCompression
from pixart_core.variants import VARIANTS

CLOSE = 1e-4
TIMESTEP = 731


def scale_of(family: ReferenceFamily) -> Any:
    """Fewer blocks where there are many tokens, for the tests' time."""
    return replace(TINY, layers=1 if family.sample_size >= 256 else 2)


def sizes_of(family: ReferenceFamily) -> list[tuple[int, int]]:
    """The trained size, three buckets and a size that is in no table, (width, height) in pixels."""
    side = family.sample_size * 8
    buckets = buckets_of(side)
    return [(side, side), buckets[0], buckets[13], buckets[-1], (side - 16, side // 2 + 48)]


def host_output(patcher: Any, x: Tensor, context: Tensor, size: tuple[int, int]) -> Tensor:
    """The noise that the host's call predicts in ``x``, given as the network sees it."""
    model = patcher.model
    sigma = model.model_sampling.sigmas[TIMESTEP].expand(len(x)).float()
    noisy = x * (sigma[0] ** 2 + 1) ** 0.5
    conditions = model.extra_conds(
        cross_attn=context,
        attention_mask=None,
        noise=noisy,
        width=size[0],
        height=size[1],
        device=x.device,
    )
    given = {key: value.process_cond(len(x)).cond for key, value in conditions.items()}
    denoised = model.apply_model(noisy, sigma, **given)
    return (noisy - denoised) / sigma[0]


def drawn(patcher: Any, context: Tensor) -> Tensor:
    """What the host's sampler makes of an empty latent of its own, of 64 x 64 pixels."""
    # By name: a type checker would take it for our own folder.
    host_nodes = importlib.import_module("nodes")
    latent = host_nodes.EmptyLatentImage().generate(64, 64)[0]
    conditioning = [[context, {}]]
    (out,) = host_nodes.common_ksampler(
        patcher, 0, 1, 1.0, "euler", "normal", conditioning, conditioning, latent
    )
    return out["samples"]


def wanted_output(reference: Any, x: Tensor, context: Tensor, size: tuple[int, int]) -> Tensor:
    sides = torch.tensor([[size[1], size[0]]]).expand(len(x), -1)
    t = torch.full((len(x),), float(TIMESTEP))
    return diffusers_output(reference, x, t, context, None, sides)[:, :4]


def write(folder: Path, family: ReferenceFamily, layout: str, reference: Any) -> Path:
    tensors = {key: value.clone() for key, value in reference.state_dict().items()}
    if layout == "diffusers folder":
        reference.save_pretrained(folder / f"PixArt-{family.name}" / "transformer")
        return folder / f"PixArt-{family.name}"
    if layout == "diffusers":
        save_file(tensors, folder / "model.safetensors")
        return folder / "model.safetensors"
    torch.save({"state_dict": to_original(tensors)}, folder / "model.pth")
    return folder / "model.pth"


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.INFO)
    yield caplog
    assert "unet missing" not in caplog.text
    assert "unet unexpected" not in caplog.text


@pytest.mark.parametrize("layout", ["original", "diffusers", "diffusers folder"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@torch.no_grad()
def test_the_host_s_call_equals_diffusers(
    pack: ModuleType,
    tmp_path: Path,
    quiet: pytest.LogCaptureFixture,
    family: ReferenceFamily,
    layout: str,
) -> None:
    from pixart_pack.nodes.host.loading import load_model

    reference = diffusers_transformer(family, scale_of(family))
    path = write(tmp_path, family, layout, reference)
    loaded = load_model(path, family.name, "fp32")
    variant = VARIANTS[family.name]
    assert loaded.patcher.model.latent_format.scale_factor == variant.latent_scale
    # One layout at all sizes; that the others hold the same weights one small size shows.
    sizes = sizes_of(family) if layout == "original" else [(336, 256)]
    for width, height in sizes:
        generator = torch.manual_seed(0)
        x = torch.randn(1, 4, height // 8, width // 8, generator=generator)
        context = torch.randn(1, 9, 64, generator=generator)
        found = host_output(loaded.patcher, x, context, (width, height))
        wanted = wanted_output(reference, x, context, (width, height))
        assert relative_error(found, wanted) <= CLOSE, (width, height)


@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(
            *(3, 216, 864, 4, 8, 2, 64, 32, False, 300),
            kv_compression=KVCompression("conv", 2, (1, 2)),
        ),
        NetworkConfig(3, 216, 864, 4, 8, 2, 64, 32, False, 300, qk_norm=True),
        NetworkConfig(2, 216, 864, 16, 32, 2, 64, 32, False, 300),
        NetworkConfig(2, 216, 864, 4, 4, 2, 64, 32, False, 300),
        NetworkConfig(42, 72, 288, 4, 8, 2, 64, 32, False, 300),
    ],
    ids=["KV compression", "qk-norm", "16 channels", "no variance", "42 blocks"],
)
@torch.no_grad()
def test_what_is_not_released_loads_too(
    pack: ModuleType, tmp_path: Path, quiet: pytest.LogCaptureFixture, network: NetworkConfig
) -> None:
    from pixart_pack.nodes.host.loading import load_model

    model = PixArtTransformer(network)
    for parameter in model.parameters():
        parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    path = tmp_path / "PixArt-Sigma-512.safetensors"
    save_file(model.state_dict(), path)
    patcher = load_model(path, "auto", "fp32").patcher
    x, context = torch.randn(1, network.in_channels, 20, 28), torch.randn(1, 5, 64)
    found = host_output(patcher, x, context, (224, 160))
    wanted = model(x, torch.tensor([float(TIMESTEP)]), context)[:, : network.in_channels]
    assert relative_error(found, wanted) <= CLOSE
    assert drawn(patcher, context).shape == (1, network.in_channels, 8, 8)


@torch.no_grad()
def test_compression_that_leaves_no_trace_is_by_choice(pack: ModuleType, tmp_path: Path) -> None:
    from pixart_pack.nodes.host.loading import load_model

    chosen = KVCompression("uniform", 2, tuple(range(1, 100)))
    network = NetworkConfig(3, 216, 864, 4, 8, 2, 64, 32, False, 300, kv_compression=chosen)
    model = PixArtTransformer(network)
    save_file(model.state_dict(), tmp_path / "PixArt-Sigma-512.safetensors")
    path = tmp_path / "PixArt-Sigma-512.safetensors"
    x, context = torch.randn(1, 4, 20, 28), torch.randn(1, 5, 64)
    wanted = model(x, torch.tensor([float(TIMESTEP)]), context)[:, :4]
    plain = load_model(path, "auto", "fp32").patcher
    right = load_model(path, "auto", "fp32", chosen).patcher
    assert relative_error(host_output(right, x, context, (224, 160)), wanted) <= CLOSE
    assert relative_error(host_output(plain, x, context, (224, 160)), wanted) > 1e-3


def test_weights_that_are_not_finite_are_refused(pack: ModuleType, tmp_path: Path) -> None:
    from pixart_pack.nodes.host.loading import load_model

    tensors = to_original(diffusers_transformer(FAMILIES[3]).state_dict())
    tensors["blocks.2.mlp.fc2.bias"][5] = float("inf")
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"not finite in blocks\.2\.mlp\.fc2\.bias"):
        load_model(tmp_path / "a.safetensors", "auto", "fp32")


@pytest.mark.parametrize("dtype", ["fp8_e4m3fn", "fp8_e5m2", "fp16", "bf16"])
@torch.no_grad()
def test_small_weights_draw_nearly_the_same(pack: ModuleType, tmp_path: Path, dtype: str) -> None:
    from pixart_pack.nodes.host.loading import load_model

    family = FAMILIES[3]
    reference = diffusers_transformer(family)
    path = write(tmp_path, family, "original", reference)
    patcher = load_model(path, family.name, dtype).patcher
    x, context = torch.randn(1, 4, 20, 28), torch.randn(1, 5, 64)
    found = host_output(patcher, x, context, (224, 160))
    wanted = wanted_output(reference, x, context, (224, 160))
    allowed = {"fp8_e4m3fn": 0.15, "fp8_e5m2": 0.3, "fp16": 0.01, "bf16": 0.05}[dtype]
    assert relative_error(found, wanted) <= allowed


def test_a_guess_is_told_and_a_certain_variant_is_not(
    pack: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from pixart_pack.nodes.host.loading import load_model

    path = write(tmp_path, FAMILIES[1], "diffusers", diffusers_transformer(FAMILIES[1]))
    loaded = load_model(path, "auto", "fp32")
    assert "it is taken for sigma-1024. If pictures look wrong, set the variant" in loaded.text
    assert sum("may be any of" in record.message for record in caplog.records) == 1
    caplog.clear()
    assert load_model(path, "alpha-512", "fp32").text == (
        "model.safetensors is alpha-512, by your choice."
    )
    assert "may be any of" not in caplog.text
