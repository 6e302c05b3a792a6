"""Bad files for every reader: made from a good one, or from nothing."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from .habitats import HABITATS, Graph

Maker = Callable[[bytes], bytes]
"""Makes the content of a bad file out of a good safetensors file's."""


def _split(good: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", good[:8])[0]
    return json.loads(good[8 : 8 + length]), good[8 + length :]


def _joined(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _header(change: Callable[[dict[str, Any], str], None]) -> Maker:
    """Return what changes the header; ``change`` gets it and the name of its largest tensor."""

    def make(good: bytes) -> bytes:
        header, data = _split(good)
        largest = max(
            (name for name in header if name != "__metadata__"),
            key=lambda name: header[name]["data_offsets"][1] - header[name]["data_offsets"][0],
        )
        change(header, largest)
        return _joined(header, data)

    return make


def _set(field: str, value: Any) -> Maker:
    def change(header: dict[str, Any], name: str) -> None:
        header[name][field] = value

    return _header(change)


def _swap_offsets(header: dict[str, Any], name: str) -> None:
    header[name]["data_offsets"].reverse()


def _overlap(header: dict[str, Any], name: str) -> None:
    other = next(key for key in header if key not in (name, "__metadata__"))
    header[other]["data_offsets"] = header[name]["data_offsets"]


def _drop(header: dict[str, Any], name: str) -> None:
    del header[name]


def _rename(header: dict[str, Any], name: str) -> None:
    header[f"{name}\x00../../x"] = header.pop(name)


def _odd_metadata(header: dict[str, Any], name: str) -> None:
    header["__metadata__"] = {"format": ["pt"], "pixart": 7}


def _by_name(good: bytes) -> dict[str, torch.Tensor]:
    # safetensors gives them in another order each time, and of two as large the first is taken.
    return dict(sorted(load(good).items()))


def _tensors(change: Callable[[dict[str, torch.Tensor], str], None]) -> Maker:
    """Return what changes the tensors of a well-formed file; ``change`` gets the largest's name."""

    def make(good: bytes) -> bytes:
        tensors = _by_name(good)
        change(tensors, max(tensors, key=lambda name: tensors[name].numel()))
        return save({key: value.contiguous() for key, value in tensors.items()})

    return make


def _fill(number: float) -> Maker:
    def change(tensors: dict[str, torch.Tensor], name: str) -> None:
        tensors[name] = torch.full_like(tensors[name], number)

    return _tensors(change)


def _without_largest(tensors: dict[str, torch.Tensor], name: str) -> None:
    del tensors[name]


def _other_shape(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = tensors[name].flatten()[:-1].clone()


def _no_numbers(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = tensors[name][:0].clone()


def _whole_numbers(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = torch.ones(tensors[name].shape, dtype=torch.int64)


def _half_infinite(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name].view(-1)[::2] = float("-inf")


def _nobody_else(tensors: dict[str, torch.Tensor], name: str) -> None:
    kept = tensors[name]
    tensors.clear()
    tensors[name] = kept


def _zip(parts: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


class _Runs:
    """An object that would leave a file behind if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/tmp/pixart-corpus-was-here",)


def _as_pth(wrap: Callable[[dict[str, torch.Tensor]], Any]) -> Maker:
    def make(good: bytes) -> bytes:
        out = io.BytesIO()
        torch.save(wrap(_by_name(good)), out)
        return out.getvalue()

    return make


def _truncated_pth(good: bytes) -> bytes:
    whole = _as_pth(lambda tensors: {"state_dict": tensors})(good)
    return whole[: len(whole) * 2 // 3]


def _flipped_pth(good: bytes) -> bytes:
    whole = bytearray(_as_pth(lambda tensors: {"state_dict": tensors})(good))
    for place in range(100, 400, 7):
        whole[place] ^= 0xFF
    return bytes(whole)


SAFETENSORS: dict[str, Maker] = {
    "empty": lambda good: b"",
    "one byte": lambda good: b"{",
    "zeros": lambda good: bytes(4096),
    "text": lambda good: b"<!doctype html><title>404</title>" * 50,
    "a picture": lambda good: b"\x89PNG\r\n\x1a\n" + bytes(2000),
    "cut in the header": lambda good: good[:200],
    "cut in the numbers": lambda good: good[: len(good) - 4096],
    "longer than it says": lambda good: good + bytes(100),
    "a header of 8 EB": lambda good: struct.pack("<Q", 2**63) + good[8:],
    "a header of 1 GB": lambda good: struct.pack("<Q", 2**30) + good[8:],
    "a header of nothing": lambda good: _joined(b"", good[:100]),
    "a header that is a list": lambda good: _joined([], b""),
    "a header without tensors": lambda good: _joined({}, b""),
    "a header that is no JSON": lambda good: _joined(b"{'a': 1}", b""),
    "a header that is no text": lambda good: _joined(b"\xff\xfe" * 50, b""),
    "deep JSON": lambda good: _joined(b"[" * 100_000, b""),
    "an unknown type": _set("dtype", "F13"),
    "a type of another size": _set("dtype", "F64"),
    "a shape that overflows": _set("shape", [2**62, 2**62]),
    "a shape below zero": _set("shape", [-1, 4]),
    "a shape in words": _set("shape", "large"),
    "offsets beyond the end": _set("data_offsets", [0, 2**40]),
    "offsets turned round": _header(_swap_offsets),
    "two tensors in one place": _header(_overlap),
    "a hole": _header(_drop),
    "a name that leads out": _header(_rename),
    "odd metadata": _header(_odd_metadata),
    "not finite": _tensors(_half_infinite),
    "not a number": _fill(float("nan")),
    "the largest left out": _tensors(_without_largest),
    "the largest in another shape": _tensors(_other_shape),
    "the largest empty": _tensors(_no_numbers),
    "whole numbers": _tensors(_whole_numbers),
    "the largest alone": _tensors(_nobody_else),
}
PICKLES: dict[str, Maker] = {
    "empty": lambda good: b"",
    "zeros": lambda good: bytes(4096),
    "text": lambda good: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "a zip of nothing": lambda good: _zip({}),
    "a zip of pictures": lambda good: _zip({"a.png": b"\x89PNG", "b/c.txt": b"hello"}),
    "a zip that leads out": lambda good: _zip({"../../x": b"hello", "a/data.pkl": b"."}),
    "an empty pickle": lambda good: _zip({"a/data.pkl": b"", "a/version": b"3"}),
    "a pickle that is cut": lambda good: _zip({"a/data.pkl": b"\x80\x02}q\x00(X\x05"}),
    "a safetensors file": lambda good: good,
    "cut": _truncated_pth,
    "bits turned over": _flipped_pth,
    "code": _as_pth(lambda tensors: {"state_dict": tensors, "x": _Runs()}),
    "code alone": lambda good: pickle.dumps(_Runs()),
    "a list": _as_pth(lambda tensors: list(tensors.values())),
    "words": _as_pth(lambda tensors: {"state_dict": {"a": "b"}}),
    "one tensor": _as_pth(lambda tensors: next(iter(tensors.values()))),
    "names that are numbers": _as_pth(lambda tensors: dict(enumerate(tensors.values()))),
    "nothing in it": _as_pth(lambda tensors: {"state_dict": {}}),
}

READERS: dict[str, tuple[str, str, str, bool]] = {
    "PixArtModelLoader": ("diffusion_models", "pixart-demo.safetensors", "file", True),
    "PixArtModelInfo": ("diffusion_models", "pixart-demo.safetensors", "file", False),
    "PixArtT5Loader": ("text_encoders", "t5-demo.safetensors", "file", True),
    "PixArtLora": ("loras", "random.safetensors", "file", True),
    "PixArtControlNetLoader": ("controlnet", "random-control.safetensors", "file", True),
    "PixArtHED": ("controlnet", "hed-corpus.safetensors", "file", True),
    "PixArtLoadConditioning": ("../output/prompts", "corpus_00001.safetensors", "file", False),
}
"""Folder below the host's models, a good file there, the input, and whether pickles are listed."""


def file_name(reader: str, label: str, suffix: str) -> str:
    """Return the name of a bad file, one for each reader that has a good file of its own."""
    own = "model" if reader == "PixArtModelInfo" else reader.removeprefix("PixArt").lower()
    return f"bad-{own}-{label.replace(' ', '-')}{suffix}"


def file_cases() -> Iterator[tuple[str, Graph]]:
    """Give each name with the graph that reads the file."""
    for reader, (_, _, name, takes_pickles) in READERS.items():
        kinds = {".safetensors": SAFETENSORS, **({".pth": PICKLES} if takes_pickles else {})}
        for suffix, makers in kinds.items():
            for label in makers:
                graph = copy.deepcopy(HABITATS[reader])
                graph["x"]["inputs"][name] = file_name(reader, label, suffix)
                yield f"{reader} · {suffix[1:]} · {label}", graph


def write_files(models: Path) -> None:
    """Write all bad files into a host's folders; the good ones lie there."""
    for reader, (folder, good, _, takes_pickles) in READERS.items():
        content = (models / folder / good).read_bytes()
        kinds = {".safetensors": SAFETENSORS, **({".pth": PICKLES} if takes_pickles else {})}
        for suffix, makers in kinds.items():
            for label, make in makers.items():
                path = models / folder / file_name(reader, label, suffix)
                path.write_bytes(make(content))
