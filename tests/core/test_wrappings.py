"""The same model in every wrapping that users have it in."""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from devtools.reference import FAMILIES, diffusers_transformer
from pixart_core.checkpoint.layouts import to_original
from pixart_core.checkpoint.opening import OpenedModel, open_model
from pixart_core.checkpoint.source import is_model_folder
from pixart_core.errors import CheckpointError

FAMILY = FAMILIES[3]
THEIRS: dict[str, Tensor] = diffusers_transformer(FAMILY).state_dict()
OURS = to_original(THEIRS)
WHOLE = {
    **OURS,
    "pos_embed": torch.zeros(1, 1024, 216),
    "y_embedder.y_embedding": torch.zeros(300, 64),
}


def clones(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in tensors.items()}


def prefixed(prefix: str, tensors: dict[str, Tensor] = WHOLE) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in tensors.items()}


def same(model: OpenedModel) -> bool:
    """Whether the model has just the weights of the reference."""
    found = dict(model.tensors())
    found.pop("y_embedder.y_embedding", None)
    return found.keys() == OURS.keys() and all(torch.equal(found[k], OURS[k]) for k in OURS)


PICKLED = {
    "state_dict": {"state_dict": WHOLE, "epoch": 3},
    "average too": {"state_dict": WHOLE, "state_dict_ema": prefixed("", {"a": torch.ones(1)})},
    "average alone": {"state_dict_ema": WHOLE, "optimizer": {"lr": 1}},
    "bare": WHOLE,
    "ordered": OrderedDict(WHOLE),
    "model": {"model": WHOLE},
    "DDP": {"state_dict": prefixed("module.")},
    "model.": prefixed("model."),
    "host": {**prefixed("model.diffusion_model."), "first_stage_model.x": torch.ones(1)},
    "module in model": prefixed("module.model."),
    "DiffEngine": {
        "meta": {"epoch": 1, "cfg": "text"},
        "state_dict": {
            **prefixed("transformer.", THEIRS), "text_encoder.x": torch.ones(1)
        },
    },
    "without buffers": {"state_dict": OURS},
    "a description first": {"model": {"type": "PixArt"}, "ema": WHOLE},
}  # fmt: skip


@pytest.mark.parametrize("name", PICKLED)
def test_pickles(tmp_path: Path, name: str) -> None:
    path = tmp_path / "PixArt-Sigma-512.pth"
    torch.save(PICKLED[name], path)
    model = open_model(path)
    assert same(model)
    assert model.info.variant.name == "sigma-512"
    model.check_complete()


@pytest.mark.parametrize("tensors", [WHOLE, OURS, THEIRS], ids=["whole", "bare", "diffusers"])
def test_safetensors(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "PixArt-Sigma-512.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    assert same(open_model(path))


def test_the_model_inside_a_controlnet_is_taken_with_a_notice(tmp_path: Path) -> None:
    control = {"controlnet.0.after_proj.weight": torch.zeros(216, 216)}
    torch.save({"state_dict": {**prefixed("base_model."), **control}}, tmp_path / "c.pth")
    model = open_model(tmp_path / "c.pth")
    assert same(model)
    assert model.checkpoint.notices == (
        "It is a ControlNet; only the model inside it is used here.",
    )


class HistoryBuffer:
    """Named below as mmengine's, which is not installed here, nor where users convert."""

    def __init__(self) -> None:
        self.history = np.arange(3.0)


HistoryBuffer.__module__ = "mmengine.logging.history_buffer"


def save_with_leftovers(path: Path) -> None:
    """Write what an mmengine training leaves: objects of its own beside the tensors."""
    module = type(sys)("mmengine.logging.history_buffer")
    module.HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    names = ["mmengine", "mmengine.logging", module.__name__]
    sys.modules.update({name: module if name == names[-1] else type(sys)(name) for name in names})
    try:
        content = {
            "state_dict": prefixed("transformer.", THEIRS),
            "message_hub": {"log_scalars": {"loss": HistoryBuffer()}, "seed": np.float64(3)},
        }
        torch.save(content, path)
    finally:
        for name in names:
            del sys.modules[name]


def test_what_diffengine_leaves_beside_the_tensors_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "epoch_50-sigma-512.pth"
    save_with_leftovers(path)
    assert same(open_model(path))


def test_what_others_allow_to_be_read_stays_as_it_was(tmp_path: Path) -> None:
    """ComfyUI allows some of numpy's own; torch takes either, by chance, where names are alike."""
    path = tmp_path / "epoch_50-sigma-512.pth"
    save_with_leftovers(path)
    theirs: list[Any] = [np.dtypes.Float64DType, np.dtype]
    with torch.serialization.safe_globals(theirs):
        before = set(torch.serialization.get_safe_globals())
        assert same(open_model(path))
        assert set(torch.serialization.get_safe_globals()) == before >= set(theirs)


def write_folder(
    folder: Path, save: Callable[[dict[str, Tensor], Path], None], name: str, config: dict[str, Any]
) -> Path:
    """Write a diffusers pipeline's transformer, and return the pipeline's folder."""
    (folder / "transformer").mkdir(parents=True)
    save(THEIRS, folder / "transformer" / name)
    (folder / "transformer" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def save_shards(tensors: dict[str, Tensor], index: Path) -> None:
    halves = [dict(list(tensors.items())[::2]), dict(list(tensors.items())[1::2])]
    weight_map: dict[str, str] = {}
    for number, half in enumerate(halves):
        name = f"diffusion_pytorch_model-{number}.safetensors"
        save_file(half, index.parent / name)
        weight_map |= dict.fromkeys(half, name)
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")


SIGMA_512 = {"sample_size": 64, "interpolation_scale": 1}
FOLDERS: dict[str, tuple[Callable[[dict[str, Tensor], Path], None], str]] = {
    "safetensors": (save_file, "diffusion_pytorch_model.safetensors"),
    "bin": (torch.save, "diffusion_pytorch_model.bin"),
    "fp16": (save_file, "diffusion_pytorch_model.fp16.safetensors"),
    "shards": (save_shards, "diffusion_pytorch_model.safetensors.index.json"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_diffusers_folders(tmp_path: Path, kind: str) -> None:
    folder = write_folder(tmp_path / "any", *FOLDERS[kind], SIGMA_512)
    for path in (folder, folder / "transformer"):
        model = open_model(path)
        assert is_model_folder(path)
        assert same(model)
        assert (model.info.variant.name, model.info.ground) == (
            "sigma-512",
            "the configuration beside it",
        )


def test_a_file_inside_a_folder_is_told_by_the_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "any", *FOLDERS["safetensors"], SIGMA_512)
    model = open_model(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    assert model.info.variant.name == "sigma-512"
    assert model.name == "any/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    ("files", "config", "wanted"),
    [
        ({}, {"sample_size": 64}, "alpha-512"),
        ({}, {"sample_size": 64, "interpolation_scale": None}, "alpha-512"),
        ({}, {"sample_size": 32, "interpolation_scale": 0.5}, "sigma-256"),
        ({}, {"sample_size": 32, "interpolation_scale": 1}, "alpha-256"),
        ({}, {"sample_size": 256, "interpolation_scale": 4}, "sigma-2k"),
        ({"vae/config.json": {"scaling_factor": 0.13025}}, {"sample_size": 64}, "sigma-512"),
        (
            {"vae/config.json": {"scaling_factor": 0.18215}},
            {"sample_size": 64, "interpolation_scale": 1},
            "alpha-512",
        ),
        (
            {"tokenizer/tokenizer_config.json": {"model_max_length": 300}},
            {"sample_size": 64},
            "sigma-512",
        ),
        ({"model_index.json": {"_class_name": "PixArtSigmaPipeline"}}, {}, "sigma-1024"),
        ({"model_index.json": {"_class_name": "PixArtAlphaPipeline"}}, SIGMA_512, "sigma-512"),
        ({"vae/config.json": "no object"}, SIGMA_512, "sigma-512"),
    ],
)
def test_configurations_tell(
    tmp_path: Path, files: dict[str, Any], config: dict[str, Any], wanted: str
) -> None:
    folder = write_folder(tmp_path / "any", *FOLDERS["safetensors"], config)
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    assert open_model(folder).info.variant.name == wanted


def test_a_file_of_any_name_is_told_by_the_folder_around_it(tmp_path: Path) -> None:
    folder = tmp_path / "PixArt-Sigma-XL-2-2K-MS"
    folder.mkdir()
    save_file(clones(THEIRS), folder / "model.safetensors")
    assert open_model(folder / "model.safetensors").info.variant.name == "sigma-2k"
    (folder / "config.json").write_text(
        json.dumps({**SIGMA_512, "_class_name": "PixArtTransformer2DModel"}), encoding="utf-8"
    )
    assert open_model(folder / "model.safetensors").info.variant.name == "sigma-512"
    (folder / "config.json").write_text(
        json.dumps({**SIGMA_512, "_class_name": "UNet2DConditionModel"}), encoding="utf-8"
    )
    assert open_model(folder / "model.safetensors").info.variant.name == "sigma-2k"


def test_a_folder_without_a_transformer_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    with pytest.raises(CheckpointError, match=r"found vae, expected transformer/diffusion_pytorch"):
        open_model(tmp_path)
    assert not is_model_folder(tmp_path)


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "[]",
        '{"weight_map": {}}',
        '{"weight_map": {"a": "../a.safetensors"}}',
        '{"weight_map": {"a": 3}}',
        '{"weight_map": {"a": "gone.safetensors"}}',
    ],
)
def test_a_bad_index_gets_a_sentence(tmp_path: Path, index: str) -> None:
    path = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    path.write_text(index, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"cannot be read|is not complete"):
        open_model(tmp_path)


def test_a_tensor_in_two_shards_gets_a_sentence(tmp_path: Path) -> None:
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    save_shards(THEIRS, index)
    save_file(THEIRS, tmp_path / "diffusion_pytorch_model-1.safetensors")
    with pytest.raises(CheckpointError, match="in two of its files"):
        open_model(tmp_path)


def test_both_layouts_in_one_file_are_refused(tmp_path: Path) -> None:
    save_file({**clones(THEIRS), **clones(OURS)}, tmp_path / "mix.safetensors")
    with pytest.raises(CheckpointError, match="under diffusers' names and under PixArt's own"):
        open_model(tmp_path / "mix.safetensors")


def test_a_block_that_is_missing_is_named(tmp_path: Path) -> None:
    tensors = {key: value for key, value in OURS.items() if not key.startswith("blocks.1.")}
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"missing \(blocks\.1\.attn"):
        open_model(tmp_path / "a.safetensors").check_complete()


def test_weights_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(OURS, path)
    assert load_file(path).keys() == dict(open_model(path).tensors()).keys()


def test_a_note_in_the_file_tells_its_variant(tmp_path: Path) -> None:
    path = tmp_path / "any.safetensors"
    noted = {**clones(OURS), "pixart_variant.sigma-2k": torch.zeros(0)}
    save_file({f"model.diffusion_model.{key}": value for key, value in noted.items()}, path)
    model = open_model(path)
    assert model.info.variant.name == "sigma-2k"
    assert same(model)
    model.check_complete()
    save_file(clones(OURS), path, {"pixart_variant": "alpha-256"})
    assert open_model(path).info.variant.name == "alpha-256"
    save_file(clones(OURS), path, {"pixart_variant": "of the future"})
    assert open_model(path).info.is_guess


@pytest.mark.parametrize("name", ["a.pth", "a.bin", "a"])
def test_safetensors_are_known_by_their_content(tmp_path: Path, name: str) -> None:
    save_file(clones(OURS), tmp_path / name)
    assert same(open_model(tmp_path / name))


def test_what_speaks_against_the_variant_is_told(tmp_path: Path) -> None:
    path = tmp_path / "PixArt-XL-2-1024-MS.safetensors"
    save_file(clones(WHOLE), path)
    model = open_model(path)
    assert model.info.variant.name == "sigma-512"
    assert model.notices == ("Its name speaks of alpha 1024 px.",)
    folder = write_folder(tmp_path / "any", *FOLDERS["safetensors"], SIGMA_512)
    assert open_model(folder).notices == ()
    assert open_model(folder, "alpha-256").notices == (
        "The configuration beside it speaks of sigma 512 px.",
    )
