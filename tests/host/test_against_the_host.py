"""What the README says of ComfyUI's own PixArt, each row on the released width with one block."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from devtools.reference import (
    FAMILIES,
    Scale,
    diffusers_transformer,
    relative_error,
)
from pixart_core.checkpoint.layouts import to_original
from pixart_core.network import PixArtTransformer
from pixart_core.network.config import KVCompression, NetworkConfig
from pixart_core.network.positions import position_grid

from .test_families import host_output, wanted_output

WIDTH, CAPTION = 1152, 4096
ONE_BLOCK = Scale(16, 1, CAPTION)
NAMED = {family.name: family for family in FAMILIES}


def written(folder: Path, name: str) -> tuple[Path, Any]:
    """Write a model as PixArt's own scripts do, positions and all, and return diffusers' too."""
    reference = diffusers_transformer(NAMED[name], ONE_BLOCK)
    side = NAMED[name].sample_size // 2
    grid = position_grid(side, side, WIDTH, 32, torch.device("cpu"))
    tensors = {k: v.contiguous() for k, v in to_original(reference.state_dict()).items()}
    path = folder / f"PixArt-{name}.safetensors"
    save_file({**tensors, "pos_embed": grid[None].contiguous()}, path)
    return path, reference


def theirs(path: Path) -> Any:
    """The host's own model of a file."""
    import comfy.sd

    return comfy.sd.load_diffusion_model(str(path), model_options={"dtype": torch.float32})


def ours(path: Path) -> Any:
    from pixart_pack.nodes.host.loading import load_model

    return load_model(path, "auto", "fp32").patcher


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def test_alpha_512_is_not_sigma(pack: ModuleType, folder: Path) -> None:
    path, _ = written(folder, "alpha-512")
    assert ours(path).model.latent_format.scale_factor == 0.18215
    assert theirs(path).model.latent_format.scale_factor == 0.13025


@torch.no_grad()
def test_small_sizes_are_drawn(pack: ModuleType, folder: Path) -> None:
    path, reference = written(folder, "sigma-512")
    x, context = torch.randn(1, 4, 32, 32), torch.randn(1, 9, CAPTION)
    wanted = wanted_output(reference, x, context, (256, 256))
    assert relative_error(host_output(ours(path), x, context, (256, 256)), wanted) <= 1e-4
    with pytest.raises(ZeroDivisionError):
        host_output(theirs(path), x, context, (256, 256))


@torch.no_grad()
def test_sizes_beside_the_trained_ones_have_their_positions(pack: ModuleType, folder: Path) -> None:
    path, reference = written(folder, "sigma-1024")
    x, context = torch.randn(1, 4, 64, 64), torch.randn(1, 9, CAPTION)
    wanted = wanted_output(reference, x, context, (512, 512))
    assert relative_error(host_output(ours(path), x, context, (512, 512)), wanted) <= 1e-4
    assert relative_error(host_output(theirs(path), x, context, (512, 512)), wanted) > 1e-2


@torch.no_grad()
def test_padding_is_not_read(pack: ModuleType, folder: Path) -> None:
    path, _ = written(folder, "sigma-512")
    x, context = torch.randn(1, 4, 64, 64), torch.randn(1, 9, CAPTION)
    padded = torch.cat([context, torch.randn(1, 5, CAPTION)], dim=1)
    mask = (torch.arange(14) < 9).long()[None]
    far = {}
    for name, patcher in (("ours", ours(path)), ("theirs", theirs(path))):
        alone = denoised(patcher, x, context)
        far[name] = relative_error(denoised(patcher, x, padded, mask), alone)
    assert far["ours"] <= 1e-4
    assert far["theirs"] > 1e-2


def denoised(patcher: Any, x: Any, context: Any, mask: Any = None) -> Any:
    model = patcher.model
    sigma = model.model_sampling.sigmas[731][None].float()
    sides = {"width": x.shape[3] * 8, "height": x.shape[2] * 8}
    conditions = model.extra_conds(
        cross_attn=context, attention_mask=mask, noise=x, device=x.device, **sides
    )
    given = {key: value.process_cond(1).cond for key, value in conditions.items()}
    return model.apply_model(x, sigma, **given)


@torch.no_grad()
def test_compressed_keys_are_not_passed_over(pack: ModuleType, folder: Path) -> None:
    compression = KVCompression("conv", 2, (0,))
    network = NetworkConfig(
        *(1, WIDTH, 4 * WIDTH, 4, 8, 2, CAPTION, 32, False, 300), kv_compression=compression
    )
    model = PixArtTransformer(network)
    for parameter in model.parameters():
        parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    path = folder / "PixArt-Sigma-512-compressed.safetensors"
    save_file(model.state_dict(), path)
    x, context = torch.randn(1, 4, 64, 64), torch.randn(1, 9, CAPTION)
    wanted = model(x, torch.tensor([731.0]), context)[:, :4]
    assert relative_error(host_output(ours(path), x, context, (512, 512)), wanted) <= 1e-4
    assert relative_error(host_output(theirs(path), x, context, (512, 512)), wanted) > 1e-2


def test_controlnets_are_loaded(pack: ModuleType, controlnets: list[Path]) -> None:
    import comfy.controlnet
    from pixart_pack.nodes.host.control import load_control

    official = next(path for path in controlnets if path.name == "with-model.pth")
    assert load_control(official) is not None
    assert comfy.controlnet.load_controlnet(str(official)) is None
