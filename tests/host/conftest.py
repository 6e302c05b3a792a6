"""One real server for the session, with the demo model and with files that are bad."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from devtools.client import HostClient
from devtools.inprocess import import_pack
from devtools.models import CONTROLNET, DEMO_FOLDER, demo_models
from devtools.server import HostServer
from pixart_core.checkpoint.convert import convert
from pixart_core.checkpoint.layouts import to_diffusers
from pixart_core.checkpoint.opening import open_model
from pixart_core.network.control import PixArtControl

DEMO = {folder: paths[0] for folder, paths in demo_models().items()}


@pytest.fixture(scope="session")
def bad_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Files that no loader should take, by the folder they lie in."""
    folder = tmp_path_factory.mktemp("bad")
    whole = DEMO["diffusion_models"].read_bytes()
    (folder / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "text.safetensors").write_text("This is not a model.", encoding="utf-8")
    save_file(
        {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(320, 4, 3, 3)},
        folder / "sd15.safetensors",
    )
    unet = UNet2DConditionModel(
        block_out_channels=(32,),
        layers_per_block=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    )
    save_file(unet.state_dict(), folder / "unet.safetensors")
    tensors = load_file(DEMO["diffusion_models"])
    without = {key: value for key, value in tensors.items() if not key.startswith("blocks.3.")}
    save_file(without, folder / "gap.safetensors")
    _write_broken_copies(tensors, folder)
    (folder / "t5-as-model.safetensors").symlink_to(DEMO["text_encoders"])
    (folder / "model-as-t5.safetensors").symlink_to(DEMO["diffusion_models"])
    (folder / "truncated-t5.safetensors").write_bytes(DEMO["text_encoders"].read_bytes()[:100000])
    encoders = {"model-as-t5.safetensors", "truncated-t5.safetensors"}
    files = sorted(folder.iterdir())
    return {
        "diffusion_models": [path for path in files if path.name not in encoders],
        "text_encoders": [path for path in files if path.name in encoders],
    }


class Touching:
    """An object that would make a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def _write_broken_copies(tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Write the demo model with one thing wrong in each file."""
    bias = tensors["blocks.5.mlp.fc2.bias"]
    save_file({**tensors, "blocks.5.mlp.fc2.bias": bias / 0}, folder / "infinite.safetensors")
    save_file({**tensors, "blocks.5.mlp.fc2.bias": bias[:7].clone()}, folder / "shape.safetensors")
    both = {**tensors, **{k: v.clone() for k, v in to_diffusers(tensors).items()}}
    save_file(both, folder / "both.safetensors")
    save_file({"patchify_proj.weight": torch.zeros(2, 2)}, folder / "ltx.safetensors")
    sana = {**tensors, "attention_y_norm.weight": torch.zeros(216)}
    save_file(sana, folder / "sana.safetensors")
    torch.save({"state_dict": tensors, "x": Touching(folder / "witness")}, folder / "bad.pth")
    (folder / "no-transformer").mkdir()


FOLDER_NAME = "Some-Pipeline"
"""A diffusers folder with the demo model, whose name tells nothing."""


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model as a diffusers folder."""
    folder = tmp_path_factory.mktemp("pipelines") / "elsewhere" / FOLDER_NAME
    convert(open_model(DEMO["diffusion_models"]), folder / "transformer", "diffusers")
    return folder


@pytest.fixture(scope="session")
def preview_decoders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The demo VAE's decoder, under the names that the host looks for to draw previews."""
    folder = tmp_path_factory.mktemp("previews")
    prefix = "taesd_decoder."
    decoder = {
        key.removeprefix(prefix): value.float()
        for key, value in load_file(DEMO["vae"]).items()
        if key.startswith(prefix)
    }
    paths = [folder / f"{name}.safetensors" for name in ("taesd_decoder", "taesdxl_decoder")]
    for path in paths:
        save_file(decoder, path)
    return paths


@pytest.fixture(scope="session")
def sigma_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model as if it were a Sigma: a null caption of 300 tokens tells it apart."""
    tensors = load_file(DEMO["diffusion_models"])
    caption = tensors["y_embedder.y_embedding"]
    path = tmp_path_factory.mktemp("sigma") / "sigma-demo.safetensors"
    save_file({**tensors, "y_embedder.y_embedding": caption.repeat(3, 1)[:300]}, path)
    return path


@pytest.fixture(scope="session")
def loras(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A LoRA with random values as a file and as PEFT's folder, and a file that is none."""
    folder = tmp_path_factory.mktemp("loras")
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"base_model.model.transformer_blocks.{block}.attn2.to_q.lora_{side}.weight": 0.3
        * torch.randn(shape, generator=generator)
        for block in range(6)
        for side, shape in (("A", (2, 216)), ("B", (216, 2)))
    }
    adapter = folder / "An-Adapter"
    adapter.mkdir()
    save_file(tensors, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text('{"lora_alpha": 2, "r": 2}', encoding="utf-8")
    save_file(tensors, folder / "random.safetensors")
    save_file(
        {"lora_unet_down_blocks_0.lora_up.weight": torch.zeros(1, 1)}, folder / "sd.safetensors"
    )
    return sorted(folder.iterdir())


def random_control(width: int = 216, depth: int = 3) -> dict[str, torch.Tensor]:
    """A ControlNet's tensors with random values that act gently."""
    facts = open_model(DEMO["diffusion_models"]).info.network
    network = replace(facts, depth=depth, hidden_size=width, mlp_size=4 * width)
    generator = torch.Generator().manual_seed(5)
    return {
        key: 0.5 * value.shape[-1] ** -0.5 * torch.randn(value.shape, generator=generator)
        for key, value in PixArtControl(network, device="meta").state_dict().items()
    }


@pytest.fixture(scope="session")
def controlnets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The demo's own ControlNet, random ones, one with the model in one file, one too wide."""
    folder = tmp_path_factory.mktemp("controlnets")
    model = load_file(DEMO["diffusion_models"])
    state = {f"base_model.{key}": value for key, value in model.items()}
    torch.save({"state_dict": {**state, **random_control()}}, folder / "with-model.pth")
    save_file(random_control(), folder / "random-control.safetensors")
    save_file(random_control(288, 1), folder / "wide-control.safetensors")
    (folder / CONTROLNET).symlink_to(DEMO_FOLDER / CONTROLNET)
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def server(
    bad_models: dict[str, list[Path]],
    pipeline: Path,
    preview_decoders: list[Path],
    sigma_model: Path,
    loras: list[Path],
    controlnets: list[Path],
) -> Iterator[HostServer]:
    """The server that all tests share; it finds some models by extra_model_paths.yaml."""
    models = {folder: [path, *bad_models.get(folder, [])] for folder, path in DEMO.items()}
    models["diffusion_models"] += [pipeline, sigma_model]
    models["vae_approx"] = preview_decoders
    models["loras"] = loras
    models["controlnet"] = controlnets
    # As old workflows have it.
    models["checkpoints"] = [path for path in controlnets if path.name == "with-model.pth"]
    extra = pipeline.parents[1] / "extra_model_paths.yaml"
    t5 = pipeline.parents[1] / "encoders" / "T5-Folder"
    t5.mkdir(parents=True)
    (t5 / "model.safetensors").symlink_to(DEMO["text_encoders"])
    extra.write_text(
        f"more:\n  base_path: {pipeline.parents[1]}\n  diffusion_models: .\n"
        "  t5: encoders\n  clip: encoders/T5-Folder\n",
        encoding="utf-8",
    )
    with HostServer(models, arguments=("--extra-model-paths-config", str(extra))) as running:
        # This one's coverage tells enough; a server of a single test starts twice as fast without.
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
        yield running


@pytest.fixture(scope="session")
def client(server: HostServer) -> HostClient:
    """A client of the shared server."""
    return HostClient(server.address)


@pytest.fixture(scope="session")
def pack() -> ModuleType:
    """The pack in this process, imported as the host imports it, with the real host around it."""
    return import_pack()


@pytest.fixture(scope="session")
def demo(pack: ModuleType) -> dict[str, Any]:
    """MODEL and CLIP of the demo model, in this process."""
    from pixart_pack.nodes.host import loading, text_encoder

    return {
        "model": loading.load_model(DEMO["diffusion_models"], "auto", "fp32").patcher,
        "clip": text_encoder.load_text_encoder(DEMO["text_encoders"], "fp32", "auto"),
    }
