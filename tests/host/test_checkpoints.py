"""Model files over the API: folders, what the host saves, what its model nodes do, inspection."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from devtools.client import HostClient
from devtools.reference import relative_error
from devtools.server import HostServer
from pixart_core.checkpoint.opening import open_model

from .conftest import DEMO, FOLDER_NAME
from .graphs import Graph, saving_latents, text_to_image, with_stock_nodes

LOADER = "1"
"""Id of the model loader in the shipped graph."""


def latent(server: HostServer, client: HostClient, graph: Graph) -> Tensor:
    """Run a graph for two steps and return the latent that it saves."""
    result = client.run(saving_latents(graph))
    (file,) = (out["latents"][0] for out in result.outputs.values() if "latents" in out)
    path = server.base / "output" / file["subfolder"] / file["filename"]
    return load_file(path)["latent_tensor"]


def few_steps(**inputs: dict[str, Any]) -> Graph:
    size = {"width": 128, "height": 128}
    return text_to_image(PixArtSampler={"steps": 2, "seed": 5}, PixArtResolution=size, **inputs)


def through(graph: Graph, class_type: str, **inputs: Any) -> Graph:
    """Put a node of the host between the loader and all that take its MODEL."""
    node = {"class_type": class_type, "inputs": inputs}
    changed = {
        i: {
            **n,
            "inputs": {k: ["50", 0] if v == [LOADER, 0] else v for k, v in n["inputs"].items()},
        }
        for i, n in graph.items()
    }
    return {**changed, "50": node}


def test_folders_are_listed_beside_files(client: HostClient) -> None:
    listed = client.object_info("PixArtModelLoader")["PixArtModelLoader"]["input"]["required"][
        "file"
    ]
    options = listed[1]["options"]
    assert "pixart-demo.safetensors" in options
    assert FOLDER_NAME in options
    assert f"elsewhere/{FOLDER_NAME}" in options
    assert f"{FOLDER_NAME}/transformer" not in options


@pytest.mark.parametrize("name", [FOLDER_NAME, f"elsewhere/{FOLDER_NAME}"])
def test_a_folder_draws_what_its_file_draws(
    server: HostServer, client: HostClient, name: str
) -> None:
    wanted = latent(server, client, few_steps())
    found = latent(server, client, few_steps(PixArtModelLoader={"file": name}))
    assert relative_error(found, wanted) <= 1e-5


def test_the_loader_says_what_the_file_is(client: HostClient) -> None:
    client.free()
    result = client.run(few_steps(PixArtModelLoader={"file": FOLDER_NAME}))
    assert result.outputs[LOADER]["text"] == [
        f"{FOLDER_NAME} is alpha-256, by the note in the file."
    ]


def test_inspection_over_the_api(client: HostClient) -> None:
    node = {"class_type": "PixArtModelInfo", "inputs": {"file": "pixart-demo.safetensors"}}
    (text,) = client.run({"1": node}).outputs["1"]["text"]
    for part in (
        "alpha-256, by the file's tensors",
        "6 blocks, 216 wide",
        "fp16",
        "It can be loaded",
    ):
        assert part in text


@pytest.mark.parametrize("node", ["ModelSave", "CheckpointSave"])
def test_what_the_host_saves_is_the_same_model(
    server: HostServer, client: HostClient, node: str
) -> None:
    graph = text_to_image()
    inputs = {"model": [LOADER, 0], "filename_prefix": f"saved/{node}"}
    if node == "CheckpointSave":
        inputs |= {"clip": ["2", 0], "vae": ["7", 0]}
    kept = {i: graph[i] for i in ("1", "2", "7")}
    client.run({**kept, "50": {"class_type": node, "inputs": inputs}})
    (path,) = (server.base / "output" / "saved").glob(f"{node}*.safetensors")
    model = open_model(path)
    model.check_complete()
    assert (model.info.variant.name, model.info.is_guess) == ("alpha-256", False)
    wanted = load_file(DEMO["diffusion_models"])
    found = dict(model.tensors())
    assert found.keys() == wanted.keys() - {"pos_embed"}
    assert all(torch.equal(found[key].float(), wanted[key].float()) for key in found)


def test_merging_a_model_with_itself_changes_nothing(
    server: HostServer, client: HostClient
) -> None:
    merged = through(
        few_steps(), "ModelMergeSimple", model1=[LOADER, 0], model2=[LOADER, 0], ratio=0.5
    )
    found = latent(server, client, merged)
    assert relative_error(found, latent(server, client, few_steps())) <= 1e-5


@pytest.mark.parametrize("sampling", ["v_prediction", "lcm"])
@pytest.mark.parametrize("zsnr", [False, True])
def test_other_schedules_run(
    server: HostServer, client: HostClient, sampling: str, zsnr: bool
) -> None:
    stock = with_stock_nodes(few_steps())
    plain = latent(server, client, stock)
    changed = through(
        stock, "ModelSamplingDiscrete", model=[LOADER, 0], sampling=sampling, zsnr=zsnr
    )
    found = latent(server, client, changed)
    assert found.isfinite().all()
    assert relative_error(found, plain) > 0.01


@torch.no_grad()
def test_v_prediction_reads_the_output_as_velocity(pack: ModuleType, demo: dict[str, Any]) -> None:
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    (patched,) = ModelSamplingDiscrete().patch(demo["model"], "v_prediction", False)
    model = patched.model
    sampling = patched.get_model_object("model_sampling")
    x, context = torch.randn(1, 4, 16, 16), torch.randn(1, 5, 128)
    sigma = sampling.sigmas[500].expand(1).float()
    given = {
        "c_crossattn": context,
        "caption_mask": torch.ones(1, 5, dtype=torch.long),
        "picture_size": torch.tensor([[128, 128]]),
    }
    out = model.diffusion_model(
        x / (sigma**2 + 1) ** 0.5, torch.tensor([500.0]), context, given["caption_mask"]
    )
    patched.patch_model()
    try:
        found = model.apply_model(x, sigma, **given)
    finally:
        patched.unpatch_model()
    wanted = x / (sigma**2 + 1) - out * sigma / (sigma**2 + 1) ** 0.5
    assert relative_error(found, wanted) <= 1e-5


@pytest.mark.parametrize(
    ("flag", "dtype"), [("fp16_unet", torch.float16), ("bf16_unet", torch.bfloat16)]
)
def test_the_host_s_flags_choose_the_precision(
    pack: ModuleType, monkeypatch: pytest.MonkeyPatch, flag: str, dtype: torch.dtype
) -> None:
    import comfy.cli_args
    from pixart_pack.nodes.host.loading import load_model

    monkeypatch.setattr(comfy.cli_args.args, flag, True)
    path: Path = DEMO["diffusion_models"]
    model = load_model(path, "auto", "auto").patcher.model
    assert {p.dtype for p in model.diffusion_model.parameters()} == {dtype}
    assert load_model(path, "auto", "fp32").patcher.model.get_dtype() == torch.float32
