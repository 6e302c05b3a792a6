"""LoRA of every trainer against PEFT's own merge."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from devtools.client import ExecutionFailed, HostClient
from devtools.parity_solvers import Subject, compare, subjects
from pixart_core.checkpoint.layouts import to_diffusers, to_original

from .graphs import Graph, node, text_to_image
from .lora_files import CONFIGS, Tensors, Trained, kohya, peft_folder, renamed, train, with_alphas

ALPHA = 6.0


@pytest.fixture(scope="module")
def subject(pack: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A tiny model that is told sizes, as diffusers runs it and as a MODEL."""
    return subjects(tmp_path_factory.mktemp("lora"))["alpha-1024"]


@pytest.fixture(scope="module")
def trained(subject: Subject) -> dict[str, Trained]:
    """Adapters of every kind."""
    return {kind: train(subject.transformer, kind) for kind in CONFIGS}


def weights(model: Any) -> Tensors:
    """The weights of a MODEL with its patches, which are taken off again."""
    model.patch_model(torch.device("cpu"))
    found = {key: value.clone() for key, value in model.model.diffusion_model.state_dict().items()}
    model.unpatch_model(torch.device("cpu"))
    return found


def distance(subject: Subject, model: Any, merged: Tensors) -> float:
    """Relative L2 of what the adapter changes to what PEFT's merge changes."""
    base = to_original(subject.transformer.state_dict())
    found = weights(model)
    assert found.keys() >= base.keys()
    wrong = wanted = 0.0
    for key in base:
        change = (merged[key] - base[key]).double()
        wrong += float(((found[key] - base[key]).double() - change).square().sum())
        wanted += float(change.square().sum())
    assert wanted > 0
    return float((wrong / wanted) ** 0.5)


def applied(subject: Subject, path: Path, strength: float = 1.0, alpha: float = 0.0) -> Any:
    from pixart_pack.nodes.host.lora import apply_lora

    return apply_lora(subject.patcher, path, strength, alpha)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_folder_of_peft_is_its_merge(
    subject: Subject, trained: dict[str, Trained], kind: str, tmp_path: Path
) -> None:
    model, report = applied(subject, peft_folder(trained[kind], tmp_path / "adapter"))
    assert distance(subject, model, trained[kind].merged) <= 1e-4
    assert "adapter_config.json" in report or kind.startswith("OFT")
    assert "Not for this model" not in report


def test_a_configuration_speaks_of_its_own_file_alone(
    subject: Subject, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """In a folder of many LoRAs it is nobody's; what a file says itself comes first."""
    folder = peft_folder(trained["LoRA"], tmp_path / "adapter")
    (folder / "adapter_model.safetensors").rename(folder / "mine.safetensors")
    own = applied(subject, folder / "mine.safetensors")[1]
    assert "from adapter_config.json" in own
    metadata = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 3})}
    save_file(trained["LoRA"].adapter, folder / "other.safetensors", metadata)
    assert "alpha 8 from nothing" in applied(subject, folder / "mine.safetensors")[1]
    assert "alpha 3 from the file's metadata" in applied(subject, folder / "other.safetensors")[1]


@pytest.mark.parametrize("configured", [True, False], ids=["folder", "file alone"])
def test_the_lcm_lora_draws_as_in_diffusers(
    subject: Subject, trained: dict[str, Trained], configured: bool, tmp_path: Path
) -> None:
    lcm = trained["LCM-LoRA"]
    folder = peft_folder(lcm, tmp_path / "lcm-lora")
    if not configured:
        (folder / "adapter_config.json").unlink()
    model, report = applied(subject, folder)
    assert "rank 32, alpha 8 from" in report
    assert ("does not say its alpha; 8" in report) is not configured
    merged = copy.deepcopy(subject.transformer)
    merged.load_state_dict(to_diffusers(lcm.merged))
    with_lora = replace(subject, transformer=merged, patcher=model)
    assert compare(with_lora, "LCM") <= 1e-4
    assert compare(replace(subject, patcher=model), "LCM") > 1e-2
    # The host leaves the LoRA in the weights that all tests share.
    import comfy.model_management

    comfy.model_management.unload_all_models()


STYLES: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "peft": (lambda adapter: adapter, "PEFT"),
    "scripts": (lambda a: renamed(a, "unet.base_model.model."), "PixArt's training scripts"),
    "diffusers": (lambda a: renamed(a, "transformer."), "diffusers"),
    "unet": (lambda a: renamed(a, "unet."), "diffusers"),
    "plain": (lambda a: renamed(a, ""), "plain names"),
    "default": (lambda a: renamed(a, "base_model.model.", default=True), "PEFT"),
    "diffengine": (
        lambda a: renamed(a, "transformer.base_model.model.", default=True),
        "DiffEngine",
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_names_of_every_trainer(
    subject: Subject, trained: dict[str, Trained], style: str, tmp_path: Path
) -> None:
    rename, said = STYLES[style]
    path = tmp_path / "style.safetensors"
    save_file(rename(trained["LoRA"].adapter), path)
    model, report = applied(subject, path, alpha=ALPHA)
    assert distance(subject, model, trained["LoRA"].merged) <= 1e-4
    assert f"named as {said}" in report
    assert "alpha 6 from set by you" in report


@pytest.mark.parametrize(
    ("prefix", "said"), [("lora_unet_", "kohya"), ("lora_transformer_", "OneTrainer")]
)
def test_names_with_underscores_and_their_alpha(
    subject: Subject, trained: dict[str, Trained], prefix: str, said: str, tmp_path: Path
) -> None:
    tensors = with_alphas(kohya(trained["LoRA"].adapter, prefix), ALPHA, ".lora_up.weight")
    path = tmp_path / "kohya.safetensors"
    save_file({**tensors, "lora_te_encoder_x.lora_up.weight": torch.zeros(1, 1)}, path)
    model, report = applied(subject, path)
    assert distance(subject, model, trained["LoRA"].merged) <= 1e-4
    assert f"named as {said}" in report
    assert "rank 4, alpha 6 from the file" in report
    assert "1 tensors are for a text encoder" in report


def test_a_checkpoint_of_diffengine(
    subject: Subject, trained: dict[str, Trained], tmp_path: Path
) -> None:
    names = renamed(trained["LoRA"].adapter, "transformer.base_model.model.", default=True)
    path = tmp_path / "epoch.pth"
    torch.save({"state_dict": names, "meta": {"epoch": 3}}, path)
    model, _ = applied(subject, path, alpha=ALPHA)
    assert distance(subject, model, trained["LoRA"].merged) <= 1e-4


def test_names_of_the_original_layout(subject: Subject, tmp_path: Path) -> None:
    up, down = torch.randn(648, 4), torch.randn(4, 216)
    path = tmp_path / "original.safetensors"
    names = {"lora_unet_blocks_1_attn_qkv.lora_up.weight": up}
    names["lora_unet_blocks_1_attn_qkv.lora_down.weight"] = down
    save_file({**names, "lora_unet_blocks_1_attn_qkv.alpha": torch.tensor(2.0)}, path)
    base = to_original(subject.transformer.state_dict())
    key = "blocks.1.attn.qkv.weight"
    merged = {**base, key: base[key] + up @ down * (2 / 4)}
    model, _ = applied(subject, path)
    assert distance(subject, model, merged) <= 1e-4


def test_without_an_alpha_it_is_eight_and_that_is_said(
    subject: Subject, trained: dict[str, Trained], tmp_path: Path
) -> None:
    path = tmp_path / "bare.safetensors"
    save_file(trained["LoRA"].adapter, path)
    bare, report = applied(subject, path)
    chosen, _ = applied(subject, path, alpha=8.0)
    assert "alpha 8 from nothing: PEFT's default" in report
    assert "The file does not say its alpha" in report
    found, wanted = weights(bare), weights(chosen)
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_stacked_opposite_and_none(
    subject: Subject, trained: dict[str, Trained], tmp_path: Path
) -> None:
    from pixart_pack.nodes.host.lora import apply_lora

    before = weights(subject.patcher)
    path = peft_folder(trained["LoRA"], tmp_path / "one")
    once, _ = applied(subject, path)
    twice, _ = apply_lora(once, path, 1.0, 0.0)
    back, _ = apply_lora(once, path, -1.0, 0.0)
    none, _ = applied(subject, path, strength=0.0)
    key = "blocks.0.mlp.fc1.weight"
    change = weights(once)[key] - before[key]
    assert torch.allclose(weights(twice)[key] - before[key], 2 * change, atol=1e-6)
    assert torch.allclose(weights(back)[key], before[key], atol=1e-6)
    assert torch.equal(weights(none)[key], before[key])
    after = weights(subject.patcher)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_what_has_no_place_is_named(
    subject: Subject, trained: dict[str, Trained], tmp_path: Path
) -> None:
    path = tmp_path / "more.safetensors"
    deeper = {
        f"base_model.model.transformer_blocks.9.attn1.to_q.lora_{side}.weight": torch.zeros(4, 4)
        for side in "AB"
    }
    save_file({**trained["LoRA"].adapter, **deeper, "stray": torch.zeros(1)}, path)
    model, report = applied(subject, path, alpha=ALPHA)
    assert distance(subject, model, trained["LoRA"].merged) <= 1e-4
    assert "transformer_blocks.9.attn1.to_q" in report.splitlines()[-1]
    assert "stray" in report.splitlines()[-1]


def test_a_lora_of_another_model(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "sd.safetensors"
    save_file({"lora_unet_down_blocks_0_x.lora_up.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(ValueError, match=r"found names such as lora_unet_down_blocks_0_x.* kohya"):
        applied(subject, path)
    empty = tmp_path / "none.safetensors"
    save_file({}, empty)
    with pytest.raises(ValueError, match="has nothing for this model"):
        applied(subject, empty)


@pytest.mark.parametrize("shapes", [((100, 4), (4, 216)), ((216, 4), (5, 216)), ((216, 4), None)])
def test_a_lora_of_another_size(subject: Subject, shapes: tuple[Any, Any], tmp_path: Path) -> None:
    module = "transformer.transformer_blocks.0.attn1.to_q"
    tensors: dict[str, Tensor] = {f"{module}.lora_B.weight": torch.zeros(shapes[0])}
    if shapes[1]:
        tensors[f"{module}.lora_A.weight"] = torch.zeros(shapes[1])
    path = tmp_path / "size.safetensors"
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"The LoRA does not fit transformer_blocks\.0.attn1.to_q"):
        applied(subject, path)


def with_lora(node_type: str, **inputs: Any) -> Graph:
    small = {"width": 128, "height": 128, "batch_size": 1}
    graph = text_to_image(PixArtResolution=small, PixArtSampler={"steps": 2, "seed": 12})
    graph["50"] = node(node_type, model=["1", 0], **inputs)
    graph["6"]["inputs"]["model"] = ["50", 0]
    return graph


def pixels(client: HostClient, graph: Graph) -> bytes:
    (image,) = client.run(graph).images()
    return Image.open(io.BytesIO(client.image(image))).tobytes()


def test_a_lora_in_the_graph(client: HostClient) -> None:
    small = {"width": 128, "height": 128, "batch_size": 1}
    plain = pixels(
        client, text_to_image(PixArtResolution=small, PixArtSampler={"steps": 2, "seed": 12})
    )
    folder = pixels(client, with_lora("PixArtLora", file="An-Adapter", strength=1.0))
    assert folder != plain
    chosen = {"file": "random.safetensors", "alpha": 2.0}
    assert pixels(client, with_lora("PixArtLora", strength=1.0, **chosen)) == folder
    assert pixels(client, with_lora("PixArtLora", strength=0.0, **chosen)) == plain
    # The host knows no adapter_config.json, and takes no alpha for alpha = rank.
    stock = {"lora_name": "random.safetensors", "strength_model": 1.0}
    assert pixels(client, with_lora("LoraLoaderModelOnly", **stock)) == folder


def test_a_lora_says_what_it_is(client: HostClient) -> None:
    result = client.run(with_lora("PixArtLora", file="An-Adapter", strength=0.7))
    assert result.outputs["50"]["text"] == [
        "An-Adapter: LoRA, named as PEFT",
        "6 of 6 modules, rank 2, alpha 2 from adapter_config.json",
    ]
    with pytest.raises(ExecutionFailed, match=r"sd\.safetensors has nothing for this model"):
        client.run(with_lora("PixArtLora", file="sd.safetensors", strength=1.0))
