"""Conversion and inspection from the command line."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import PixArtTransformer2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from devtools.environment import ROOT
from devtools.reference import FAMILIES, ReferenceFamily, diffusers_transformer, relative_error
from pixart_core.checkpoint.convert import convert
from pixart_core.checkpoint.layouts import to_original
from pixart_core.checkpoint.opening import open_model
from pixart_core.checkpoint.reading import shapes_of
from pixart_core.checkpoint.report import report_on
from pixart_core.errors import CheckpointError
from pixart_core.network import NetworkConfig, PixArtTransformer
from pixart_core.network.config import KVCompression
from pixart_core.writing import WritingError, written

from .test_wrappings import save_with_leftovers

KEYS = (
    *("family", "variant", "ground", "ambiguous", "depth", "hidden_size", "tokens"),
    *("sample_size", "size_conditions", "position_range", "latent_scale", "layout", "dtype"),
    *("missing", "unexpected"),
)


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pixart_core", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def original_file(folder: Path, family: ReferenceFamily) -> Path:
    """Write a tiny model in original layout under a name that tells it, and return its path."""
    tensors = to_original(diffusers_transformer(family).state_dict())
    tensors["y_embedder.y_embedding"] = torch.randn(family.tokens, 64)
    path = folder / f"PixArt-{family.name}.safetensors"
    save_file({key: value.clone() for key, value in tensors.items()}, path)
    return path


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_there_and_back_is_bit_equal_and_diffusers_loads_it(
    tmp_path: Path, family: ReferenceFamily
) -> None:
    source = original_file(tmp_path, family)
    folder, back = tmp_path / "any name", tmp_path / "back.safetensors"
    convert(open_model(source), folder, "diffusers")
    assert open_model(folder).info.variant.name == family.name
    convert(open_model(folder), back, "original")
    assert equal(load_file(back), load_file(source))
    again = open_model(back)
    assert (again.info.variant.name, again.info.is_guess) == (family.name, False)

    wanted = diffusers_transformer(family)
    loaded: Any = PixArtTransformer2DModel.from_pretrained(folder)
    assert equal(loaded.state_dict(), wanted.state_dict())
    for key in ("sample_size", "use_additional_conditions", "num_layers", "cross_attention_dim"):
        assert loaded.config[key] == wanted.config[key]
    size = {"resolution": torch.tensor([[512.0, 512.0]]), "aspect_ratio": torch.ones(1, 1)}
    given = {
        "hidden_states": torch.randn(1, 4, 20, 28, generator=torch.manual_seed(0)),
        "encoder_hidden_states": torch.randn(1, 7, 64, generator=torch.manual_seed(1)),
        "timestep": torch.tensor([500]),
        "added_cond_kwargs": size if family.size_conditions else dict.fromkeys(size),
    }
    with torch.no_grad():
        assert relative_error(loaded(**given)[0], wanted(**given)[0]) <= 1e-6


@pytest.mark.parametrize(("name", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_precision_is_changed(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    source = original_file(tmp_path, FAMILIES[1])
    target = tmp_path / "small.safetensors"
    assert (
        command("convert", source, target, "--layout", "original", "--dtype", name).returncode == 0
    )
    small, wanted = load_file(target), load_file(source)
    assert all(torch.equal(small[key], wanted[key].to(dtype)) for key in wanted)
    assert (target.stat().st_mode & 0o777) == 0o644


def test_diffengine_s_file_becomes_a_folder_for_diffusers(tmp_path: Path) -> None:
    save_with_leftovers(tmp_path / "epoch_50.pth")
    done = command(
        *("convert", tmp_path / "epoch_50.pth", tmp_path / "published"),
        *("--layout", "diffusers", "--variant", "alpha-512", "--dtype", "fp32"),
    )
    assert done.returncode == 0, done.stderr
    loaded: Any = PixArtTransformer2DModel.from_pretrained(tmp_path / "published")
    assert equal(loaded.state_dict(), diffusers_transformer(FAMILIES[3]).state_dict())
    assert "100%" in done.stderr


def test_nothing_is_replaced_without_force(tmp_path: Path) -> None:
    source = original_file(tmp_path, FAMILIES[1])
    target = tmp_path / "there.safetensors"
    target.write_text("dear", encoding="utf-8")
    refused = command("convert", source, target, "--layout", "original")
    assert refused.returncode == 1
    assert "was not written: found something of that name there already" in refused.stderr
    assert target.read_text(encoding="utf-8") == "dear"
    assert command("convert", source, target, "--layout", "original", "--force").returncode == 0
    assert equal(load_file(target), load_file(source))


def test_in_a_folder_only_files_of_the_same_names_are_replaced(tmp_path: Path) -> None:
    source = original_file(tmp_path, FAMILIES[1])
    target = tmp_path / "folder"
    (target / "vae").mkdir(parents=True)
    (target / "config.json").write_text("old", encoding="utf-8")
    convert(open_model(source), target, "diffusers", force=True)
    assert (target / "vae").is_dir()
    assert open_model(target).info.variant.name == "alpha-512"
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name, "folder"]


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    source = original_file(tmp_path, FAMILIES[1])
    (tmp_path / "b.safetensors").mkdir()
    with pytest.raises(WritingError, match="found a folder of that name, expected a file"):
        convert(open_model(source), tmp_path / "b.safetensors", "original", force=True)
    (tmp_path / "c").touch()
    with pytest.raises(WritingError, match="found a file of that name, expected a folder"):
        convert(open_model(source), tmp_path / "c", "diffusers", force=True)


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"

    def fail() -> None:
        with written(target) as draft:
            draft.write_text("half", encoding="utf-8")
            raise RuntimeError("the disk burns")

    with pytest.raises(RuntimeError, match="the disk burns"):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    """A limit on the size of files stops the write as a full disk does."""
    source, target = original_file(tmp_path, FAMILIES[1]), tmp_path / "b.safetensors"
    program = (
        "import resource, runpy, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "sys.argv = ['pixart_core', *sys.argv[1:]]\n"
        "runpy.run_module('pixart_core', run_name='__main__')\n"
    )
    arguments = ["convert", str(source), str(target), "--layout", "original"]
    # What coverage would write of it finds no room either, and would say so.
    alone = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env=alone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "b.safetensors was not written: found" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def large_file(folder: Path) -> Path:
    """Write a model of 200 MB, which takes a while to write again."""
    config = NetworkConfig(2, 1152, 4608, 4, 8, 2, 64, 16, False, 120)
    path = folder / "PixArt-alpha-256.safetensors"
    save_file(PixArtTransformer(config).state_dict(), path)
    return path


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_a_conversion_killed_while_its_draft_grows_leaves_nothing_whole(tmp_path: Path) -> None:
    """A file that takes long to write, by the command itself; the next run is not in its way."""
    source, target = large_file(tmp_path), tmp_path / "made" / "b.safetensors"
    target.parent.mkdir()
    words = ("convert", source, target, "--layout", "original", "--variant", "alpha-256")
    line = [sys.executable, "-m", "pixart_core", *map(str, words)]
    with subprocess.Popen(line, cwd=ROOT) as process:
        while not (growing := [path for path in target.parent.rglob("*") if path.is_file()]):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    # It has its whole length from the beginning, but not its content.
    assert growing[0].stat().st_blocks * 512 < source.stat().st_size
    assert not target.exists()
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert equal(load_file(target), load_file(source))


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_a_killed_run_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom pixart_core.writing import written\n"
        "with written(Path(sys.argv[1])) as draft:\n"
        "    draft.write_text('half')\n    print('writing', flush=True)\n    time.sleep(60)\n"
    )
    target = tmp_path / "a.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(target)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()


def test_what_is_broken_is_not_converted(tmp_path: Path) -> None:
    path = original_file(tmp_path, FAMILIES[1])
    tensors = load_file(path)
    tensors["blocks.1.mlp.fc1.weight"][0, 0] = float("nan")
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"not finite in blocks\.1\.mlp\.fc1\.weight"):
        convert(open_model(path), tmp_path / "b.safetensors", "original")
    del tensors["blocks.1.mlp.fc1.weight"]
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="1 missing"):
        convert(open_model(path), tmp_path / "b.safetensors", "original")
    assert not (tmp_path / "b.safetensors").exists()


def test_weights_too_large_for_halves_are_named(tmp_path: Path) -> None:
    path = original_file(tmp_path, FAMILIES[1])
    tensors = load_file(path)
    tensors["t_block.1.bias"][3] = 1e6
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"numbers in t_block\.1\.bias that are too large"):
        convert(open_model(path), tmp_path / "b.safetensors", "original", torch.float16)


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    path = original_file(tmp_path, FAMILIES[1])
    tensors = {key: value.to(torch.int8) for key, value in load_file(path).items()}
    save_file(tensors, path)
    assert not report_on(open_model(path)).usable
    with pytest.raises(CheckpointError, match="numbers of type int8"):
        convert(open_model(path), tmp_path / "b.safetensors", "original")


def test_what_diffusers_has_no_place_for_is_refused(tmp_path: Path) -> None:
    network = NetworkConfig(
        *(2, 216, 864, 4, 8, 2, 64, 32, False, 300),
        kv_compression=KVCompression("conv", 2, (1,)),
    )
    path = tmp_path / "PixArt-Sigma-512-kv.safetensors"
    save_file(PixArtTransformer(network).state_dict(), path)
    with pytest.raises(CheckpointError, match="compressed keys and values"):
        convert(open_model(path), tmp_path / "b", "diffusers")
    convert(open_model(path), tmp_path / "b.safetensors", "original")
    assert report_on(open_model(tmp_path / "b.safetensors")).kv_compression


def test_info_says_what_a_file_is(tmp_path: Path) -> None:
    path = original_file(tmp_path, FAMILIES[2])
    told = command("info", path)
    assert told.returncode == 0
    for part in ("alpha-1024, by the file's", "sd-vae-ft-ema", "1024 × 1024", "3 blocks", "fp32"):
        assert part in told.stdout
    report = json.loads(command("info", path, "--json").stdout)
    assert set(KEYS) <= report.keys()
    assert (report["family"], report["depth"], report["tokens"]) == ("alpha", 3, 120)
    assert (report["layout"], report["dtype"], report["missing"]) == ("original", "fp32", [])


def test_info_of_what_is_no_model_is_a_sentence(tmp_path: Path) -> None:
    told = command("info", tmp_path / "none.safetensors")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("none.safetensors cannot be read: found no such file")
    assert "Traceback" not in told.stderr


def test_info_of_a_damaged_model_names_what_is_missing(tmp_path: Path) -> None:
    path = original_file(tmp_path, FAMILIES[1])
    tensors = load_file(path)
    del tensors["blocks.1.mlp.fc1.weight"]
    save_file({**tensors, "more": torch.ones(1)}, path)
    told = command("info", path, "--json")
    report = json.loads(told.stdout)
    assert told.returncode == 1
    assert report["missing"] == ["blocks.1.mlp.fc1.weight"]
    assert report["unexpected"] == ["more"]
    assert "cannot be loaded" in report["verdict"]


def test_a_guess_is_called_one(tmp_path: Path) -> None:
    tensors = diffusers_transformer(FAMILIES[1]).state_dict()
    save_file(tensors, tmp_path / "model.safetensors")
    report = report_on(open_model(tmp_path / "model.safetensors"))
    assert report.ambiguous
    assert "may be any of alpha-256, alpha-512" in report.verdict
    assert len(report.possible) == 7
    assert not report_on(open_model(tmp_path / "model.safetensors", "sigma-2k")).ambiguous


def test_a_guess_never_becomes_a_fact(tmp_path: Path) -> None:
    save_file(diffusers_transformer(FAMILIES[1]).state_dict(), tmp_path / "model.safetensors")
    model = open_model(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="Say which it is with --variant"):
        convert(model, tmp_path / "folder", "diffusers")
    convert(model, tmp_path / "b.safetensors", "original")
    assert open_model(tmp_path / "b.safetensors").info.is_guess
    chosen = open_model(tmp_path / "model.safetensors", "alpha-512")
    convert(chosen, tmp_path / "folder", "diffusers")
    assert open_model(tmp_path / "folder").info.variant.name == "alpha-512"


def test_programs_get_json_for_what_is_no_model_too(tmp_path: Path) -> None:
    told = command("info", tmp_path / "none.safetensors", "--json")
    assert told.returncode == 1
    report = json.loads(told.stdout)
    assert not report["usable"]
    assert report["verdict"].startswith("none.safetensors cannot be read")


def test_only_headers_are_read(tmp_path: Path) -> None:
    """A file of 3 GB, nearly all of it a hole, is inspected without touching its numbers."""
    path = tmp_path / "PixArt-Sigma-512.safetensors"
    shapes = shapes_of(to_original(diffusers_transformer(FAMILIES[3]).state_dict()))
    shapes["y_embedder.y_embedding"] = (300, 2_500_000)
    header, end = {}, 0
    for key, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    before = resident_bytes()
    began = time.monotonic()
    assert report_on(open_model(path)).tokens == 300
    assert time.monotonic() - began < 1
    assert resident_bytes() - before < 200_000_000


def resident_bytes() -> int:
    """All memory of this process, mapped files included (Linux)."""
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        if line.startswith("VmRSS:")
    )
    return int(line.split()[1]) * 1024
