"""Bad folders, as Hugging Face's libraries write them, and bad tables of styles."""

from __future__ import annotations

import base64
import copy
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from devtools.environment import host_folder

from .habitats import HABITATS, Graph

Maker = Callable[[Path, Path], None]
"""Fills a bad folder, the second; the first is a good safetensors file."""
CONFIG, ADAPTER, TABLE = "config.json", "adapter_config.json", "styles.csv"


@dataclass(frozen=True)
class _FolderReader:
    folder: str
    """Below the host's models."""
    good: str
    stem: str
    """What the library calls the file of weights."""
    config: str
    """What it calls the settings beside it, where it has any that we read."""


_FOLDER_READERS = {
    "PixArtModelLoader": _FolderReader(
        "diffusion_models", "pixart-demo.safetensors", "diffusion_pytorch_model", CONFIG
    ),
    "PixArtT5Loader": _FolderReader("text_encoders", "t5-demo.safetensors", "model", ""),
    "PixArtLora": _FolderReader("loras", "random.safetensors", "adapter_model", ADAPTER),
}
_ENDLESS = "[" * 100_000
SETTINGS = {
    "empty": "",
    "no JSON": "{'a': 1}",
    "a list": "[1, 2]",
    "deep": _ENDLESS,
    "long": " " * 10_000_001 + "{}",
    "numbers in words": '{"lora_alpha": "large", "r": "many", "hidden_size": "wide", "d_kv": "x"}',
    "numbers without end": '{"lora_alpha": 1e999, "r": NaN, "sample_size": Infinity}',
    "huge numbers": f'{{"lora_alpha": 1{"0" * 400}, "r": 1{"0" * 400}, "sample_size": 1e300}}',
    "below zero": '{"lora_alpha": -8, "r": -1, "sample_size": -4, "interpolation_scale": -2}',
    "nothing": '{"lora_alpha": null, "r": null, "sample_size": null, "_class_name": null}',
    "another model": '{"_class_name": "UNet2DConditionModel", "hidden_size": 9, "d_kv": 7}',
    "patterns that run on": '{"lora_alpha": 1, "alpha_pattern": {"(a+)+$": 2, "[": 3, "": 4}}',
    "patterns in a list": '{"alpha_pattern": [1, 2]}',
}
INDEXES: dict[str, Any] = {
    "no JSON": "weights",
    "deep": _ENDLESS,
    "a list": [],
    "no weights": {"metadata": {}},
    "no names": {"weight_map": {}},
    "names in a list": {"weight_map": ["a.safetensors"]},
    "names that are numbers": {"weight_map": {"a": 1, "b": "part.safetensors"}},
    "a name that leads out": {"weight_map": {"a": "../pixart-demo.safetensors"}},
    "an absolute name": {"weight_map": {"a": "/etc/passwd"}},
    "a part that is missing": {"weight_map": {"a": "part.safetensors", "b": "gone.safetensors"}},
    "a name that is too long": {"weight_map": {"a": "a" * 300 + ".safetensors"}},
    "a part that is itself": {"weight_map": {"a": "INDEX"}},
    "parts that repeat": {"weight_map": {"a": "part.safetensors", "b": "again.safetensors"}},
}
TABLES: dict[str, bytes] = {
    "empty": b"",
    "no columns": b"1,2,3\n4,5,6\n",
    "not a table": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8,
    "UTF-16": "name,prompt,negative_prompt\nMine,a,b\n".encode("utf-16"),
    "a quote left open": b'name,prompt,negative_prompt\nOpen,"a {prompt},b\nMine,x {prompt},y\n',
    "more fields": b"name,prompt,negative_prompt\nMine,a,b,c,d,e\n",
    "fewer fields": b"name,prompt,negative_prompt\nMine\n",
    "no name": b"name,prompt,negative_prompt\n,a,b\n",
    "an official name": b"name,prompt,negative_prompt\nManga,a,b\n",
    "the same name twice": b"name,prompt,negative_prompt\nMine,a,b\nMine,c,d\n",
    "NUL": b"name,prompt,negative_prompt\nMine,a\x00b,c\n",
    "other braces": b'name,prompt,negative_prompt\nMine,"{0} {a!r:>99} {prompt,}",b\n',
    "a field without end": b"name,prompt,negative_prompt\nMine," + b"a" * 200_000 + b",b\n",
    "too long": b"name,prompt,negative_prompt\n" + b"#" * (5 * 2**20),
    "lines of old Macs": b"name,prompt,negative_prompt\rMine,a,b\r",
}


_QUANTISED = "encoder.block.0.layer.1.DenseReluDense.wo"
_FP8 = list(b'{"format": "float8_e4m3fn"}')


def _bytes(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.uint8)


QUANTISATIONS: dict[str, dict[str, Tensor]] = {
    "no scale": {f"{_QUANTISED}.comfy_quant": _bytes(_FP8)},
    "a scale for each pair": {
        f"{_QUANTISED}.comfy_quant": _bytes(_FP8),
        f"{_QUANTISED}.weight_scale": torch.ones(3),
    },
    "a scale that is no number": {
        f"{_QUANTISED}.comfy_quant": _bytes(_FP8),
        f"{_QUANTISED}.weight_scale": torch.tensor(float("nan")),
    },
    "a scale of many dimensions": {
        f"{_QUANTISED}.comfy_quant": _bytes(_FP8),
        f"{_QUANTISED}.weight_scale": torch.ones([1] * 21),
    },
    "scales of columns": {
        f"{_QUANTISED}.comfy_quant": _bytes(list(b'{"format": "int8_tensorwise"}')),
        f"{_QUANTISED}.weight_scale": torch.ones(128),
    },
    "a norm": {
        "encoder.final_layer_norm.comfy_quant": _bytes(_FP8),
        "encoder.final_layer_norm.weight_scale": torch.ones(()),
    },
    "a format in one number": {f"{_QUANTISED}.comfy_quant": torch.tensor(700_000_000)},
    "a format without end": {f"{_QUANTISED}.comfy_quant": _bytes([91] * 20_000)},
    "an old scale of three": {
        "scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn),
        f"{_QUANTISED}.scale_input": torch.ones(3),
    },
}
"""What lies beside weights that are not quantised."""


def _charsmap(*numbers: int) -> str:
    """Return the table of a normalizer: its length in bytes, then as many numbers."""
    table = struct.pack(f"<{len(numbers) + 1}I", 4 * len(numbers), *numbers)
    return base64.b64encode(table + b"x\0").decode()


TOKENIZERS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a broken spiece": ("spiece.model", lambda: b"\x0a\xff\xff\xff\xff\x0f" + bytes(300)),
    "no JSON": ("tokenizer.json", lambda: b"{"),
    "a table that cannot be read": ("tokenizer.json", lambda: _tokenizer("AAAA")),
    "a table that leads out": ("tokenizer.json", lambda: _tokenizer(_charsmap(0x7FFFFFFF))),
}
"""Files of tokenizers, by name; the last two end in a panic of native code."""


def _tokenizer(table: str) -> bytes:
    path = host_folder() / "comfy" / "text_encoders" / "t5_tokenizer" / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": table}
    return json.dumps(content).encode()


def _with_settings(reader: _FolderReader, text: str) -> Maker:
    def make(good: Path, folder: Path) -> None:
        (folder / f"{reader.stem}.safetensors").symlink_to(good)
        (folder / reader.config).write_text(text, encoding="utf-8")

    return make


def _with_index(reader: _FolderReader, content: Any) -> Maker:
    def make(good: Path, folder: Path) -> None:
        index = f"{reader.stem}.safetensors.index.json"
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / index).write_text(text.replace("INDEX", index), encoding="utf-8")
        for name in ("part.safetensors", "again.safetensors"):
            (folder / name).symlink_to(good)

    return make


def _with_quantisation(reader: _FolderReader, extras: dict[str, Tensor]) -> Maker:
    def make(good: Path, folder: Path) -> None:
        save_file({**load_file(good), **extras}, folder / f"{reader.stem}.safetensors")

    return make


def _with_tokenizer(reader: _FolderReader, name: str, content: Callable[[], bytes]) -> Maker:
    def make(good: Path, folder: Path) -> None:
        (folder / f"{reader.stem}.safetensors").symlink_to(good)
        (folder / name).write_bytes(content())

    return make


def _as_folder(reader: _FolderReader) -> Maker:
    return lambda good, folder: (folder / f"{reader.stem}.safetensors").mkdir()


def _as_lost_link(reader: _FolderReader) -> Maker:
    return lambda good, folder: (folder / f"{reader.stem}.safetensors").symlink_to(folder / "gone")


def _makers(kind: str, reader: _FolderReader) -> Iterator[tuple[str, Maker]]:
    if reader.config:
        for label, text in SETTINGS.items():
            yield f"settings {label}", _with_settings(reader, text)
    for label, content in INDEXES.items():
        yield f"index {label}", _with_index(reader, content)
    yield "a folder as file", _as_folder(reader)
    yield "a link to nowhere", _as_lost_link(reader)
    if kind == "PixArtT5Loader":
        for label, extras in QUANTISATIONS.items():
            yield f"quantised {label}", _with_quantisation(reader, extras)
        for label, (name, made) in TOKENIZERS.items():
            yield f"tokenizer {label}", _with_tokenizer(reader, name, made)


def _folder_name(kind: str, label: str) -> str:
    return f"bad-{kind.removeprefix('PixArt').lower()}-{label.replace(' ', '-')}"


def folder_cases() -> Iterator[tuple[str, Graph]]:
    """Give each name with the graph that reads the folder."""
    for kind, reader in _FOLDER_READERS.items():
        for label, _ in _makers(kind, reader):
            graph = copy.deepcopy(HABITATS[kind])
            graph["x"]["inputs"]["file"] = _folder_name(kind, label)
            yield f"{kind} · folder · {label}", graph


def write_folders(models: Path) -> None:
    """Write all bad folders into a host's; the good files lie there."""
    for kind, reader in _FOLDER_READERS.items():
        good = (models / reader.folder / reader.good).resolve()
        for label, make in _makers(kind, reader):
            folder = models / reader.folder / _folder_name(kind, label)
            folder.mkdir()
            make(good, folder)


def table_cases() -> Iterator[tuple[str, Graph]]:
    """Give each name with a graph that asks for a style of the table, and with one of ours."""
    for label in TABLES:
        for style in ("Mine", "Manga"):
            graph = copy.deepcopy(HABITATS["PixArtStyle"])
            graph["x"]["inputs"]["style"] = style
            yield f"PixArtStyle · {TABLE} · {label} · {style}", graph


def place_table(name: str, user: Path) -> None:
    """Put the table of a case where the host's users keep theirs, and none for other cases."""
    table = user / TABLE
    _, kind, label, *_ = [*name.split(" · "), "", "", ""]
    if kind == TABLE:
        table.write_bytes(TABLES[label])
    else:
        table.unlink(missing_ok=True)
