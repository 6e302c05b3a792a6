"""Files that mean harm, or have come to it: a sentence each, and nothing of them is run."""

from __future__ import annotations

import os
import pickle
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor

from devtools.memory import PeakMemory
from pixart_core.checkpoint.opening import open_model
from pixart_core.checkpoint.reading import read_checkpoint, read_tensors
from pixart_core.checkpoint.source import is_model_folder
from pixart_core.errors import CheckpointError
from pixart_core.json_text import parse_json
from pixart_core.lora.settings import read_settings

from .test_wrappings import OURS, WHOLE, clones


def test_a_folder_that_may_not_be_read_is_none_of_ours(open_folder: Path) -> None:
    closed = open_folder / "lost+found"
    closed.mkdir()
    closed.chmod(0)
    with nobody():
        assert not is_model_folder(closed)
    closed.chmod(0o755)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(OURS, path)
    checkpoint = read_checkpoint(path)
    checkpoint.check_unchanged()
    os.utime(path, ns=(1, 1))
    with pytest.raises(CheckpointError, match="a file that changed while it was read"):
        checkpoint.check_unchanged()
    path.unlink()
    with pytest.raises(CheckpointError, match="changed"):
        checkpoint.check_unchanged()


def test_containers_within_containers_end(tmp_path: Path) -> None:
    content: Any = WHOLE
    for _ in range(100):
        content = {"state_dict": content}
    torch.save(content, tmp_path / "deep.pth")
    with pytest.raises(CheckpointError, match="cannot be loaded as a PixArt model"):
        open_model(tmp_path / "deep.pth")


def test_a_compressed_zip_is_refused_unread(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, tmp_path / "a.pth")
    bomb = tmp_path / "bomb.pth"
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as source,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for part in source.namelist():
            target.writestr(part, source.read(part) + b"\0" * 10_000_000)
    with pytest.raises(CheckpointError, match=r"compressed parts of \d"):
        open_model(bomb)


HUGE = torch.zeros(1).expand(10**9)


@pytest.mark.parametrize(
    ("tensor", "found"),
    [
        (HUGE, "claims more numbers than there are"),
        (torch.zeros(3, device="meta"), "is not a plain tensor"),
        (torch.zeros(3, 3).to_sparse(), "is not a plain tensor"),
    ],
    ids=["repeated", "meta", "sparse"],
)
def test_tensors_that_are_not_there_are_refused(tmp_path: Path, tensor: Tensor, found: str) -> None:
    torch.save({"state_dict": {**OURS, "t_block.1.bias": tensor}}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=f"t_block.1.bias {found}"):
        open_model(tmp_path / "a.pth")


class Swollen:
    """An object that would fill the memory when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return bytearray, (10**9,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_small_pickle_takes_little_memory(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "swollen.pth"
    content = {"state_dict": OURS, "x": Swollen()}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with (
        PeakMemory() as memory,
        pytest.raises(CheckpointError, match=r"is damaged \(a call of .*bytearray"),
    ):
        open_model(path)
    assert memory.growth < 100_000_000


def test_a_legacy_file_s_tensors_lie_in_it(tmp_path: Path) -> None:
    path = tmp_path / "short.pth"
    torch.save({"x": torch.zeros(20_000)}, path, _use_new_zipfile_serialization=False)
    assert read_tensors(path)["x"].shape == (20_000,)
    count = pickle.dumps(20_000, 2)[2:5]
    assert path.read_bytes().count(count) > 1
    path.write_bytes(path.read_bytes().replace(count, b"J" + (2**31 - 1).to_bytes(4, "little")))
    with pytest.raises(CheckpointError, match=r"a count of 2,147,483,647"):
        read_tensors(path)


def test_pickles_that_trip_the_unpickler_get_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "short.pth").write_bytes(b"\x80\x02\x4a\x01")
    with pytest.raises(CheckpointError, match="holds more than tensors, or is damaged"):
        open_model(tmp_path / "short.pth")


DEEP = "[" * 100_000


def test_json_without_end_is_no_riddle(tmp_path: Path) -> None:
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(DEEP)
    with pytest.raises(CheckpointError, match="lists within lists without end"):
        open_model(tmp_path)
    for text in (DEEP, '{"lora_alpha": 1' + "0" * 400 + "}"):
        (tmp_path / "adapter_config.json").write_text(text)
        (tmp_path / "adapter_model.safetensors").write_bytes(save({"x": torch.zeros(1)}))
        assert read_settings(tmp_path / "adapter_model.safetensors").alpha is None
    with pytest.raises(ValueError, match="20,000,000 letters"):
        parse_json("1" * 20_000_000)


class Touch:
    """An object that would make a file when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.witness,)


class System(Touch):
    """An object that would run a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.witness}",)


class Reader(Touch):
    """An object that would evaluate a text when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.witness)!r}, 'w')",)


@pytest.mark.parametrize("kind", [Touch, System, Reader])
@pytest.mark.parametrize("place", ["alone", "beside", "legacy", "bare pickle"])
def test_malicious_pickles_run_nothing(tmp_path: Path, kind: type[Touch], place: str) -> None:
    witness, path = tmp_path / "witness", tmp_path / "a.pth"
    bad = kind(witness)
    if place == "bare pickle":
        path.write_bytes(pickle.dumps(bad))
    else:
        content = bad if place == "alone" else {"state_dict": WHOLE, "meta": bad}
        torch.save(content, path, _use_new_zipfile_serialization=place != "legacy")
    with pytest.raises(CheckpointError, match="holds more than tensors, or is damaged"):
        open_model(path)
    assert not witness.exists()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user without rights, where the tests run as root, whom no permission stops."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_may_not_be_read_gets_a_sentence(open_folder: Path, kind: str) -> None:
    folder = open_folder / "closed"
    folder.mkdir()
    path = folder / "a.safetensors"
    save_file(clones(OURS), path)
    (path if kind == "file" else folder).chmod(0)
    try:
        with nobody(), pytest.raises(CheckpointError, match="found Permission denied"):
            open_model(path)
    finally:
        folder.chmod(0o755)


def test_text_under_the_name_of_a_pickle_is_no_riddle(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_text("hello there, this is text", encoding="utf-8")
    with pytest.raises(CheckpointError) as error:
        open_model(path)
    assert "weights_only" not in str(error.value)
    assert "is damaged, expected a PyTorch file" in str(error.value)
