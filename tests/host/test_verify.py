"""`dev.py verify` on the demo's files, in a host of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from devtools.failure import Failure
from devtools.models import demo_models
from devtools.verify.command import main

MODEL, T5, VAE = (paths[0] for paths in demo_models().values())


def options(out: Path, model: Path = MODEL) -> list[str]:
    quick = ["--side", "128", "--prompts", "1", "--steps", "12", "--out", str(out)]
    return [f"--model={model}", f"--t5={T5}", f"--vae={VAE}", *quick]


def test_the_demo_model_is_as_it_should_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options(tmp_path)) == 0
    said = capsys.readouterr().out
    found = re.search(r"ours to diffusers: (\S+)", said)
    assert found
    assert float(found[1]) <= 1e-4
    assert "ComfyUI    cannot:" in said  # it knows T5 of 24 blocks only
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for file in re.findall(r'src="([^"]+)"', page):
        assert (tmp_path / file).is_file()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("index.html", "0-ours.png", "0-diffusers.png"),
    }


def test_a_spoilt_model_is_found_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = load_file(MODEL)
    tensors["final_layer.linear.weight"] *= 0
    tensors["final_layer.linear.bias"] *= 0
    spoilt = tmp_path / "spoilt.safetensors"
    save_file(tensors, spoilt)
    assert main(options(tmp_path / "out", spoilt)) == 1
    assert "ours       the latent's deviation" in capsys.readouterr().out


def test_what_cannot_be_verified_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="found nothing at"):
        main(options(tmp_path, tmp_path / "none.safetensors"))
    with pytest.raises(Failure, match="found one that the pack refuses"):
        main(options(tmp_path, VAE))
