"""A T5 text encoder in its files: one, several, quantised, with or without a decoder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..checkpoint.completeness import check_complete
from ..checkpoint.reading import OpenedFiles, open_files, shapes_of
from ..checkpoint.source import SAFETENSORS, TEXT_ENCODER, Source
from ..json_text import parse_json
from .t5 import T5Shape, detect_t5, encoder_tensors, tensor_shapes

Value = TypeVar("Value")

_MARK = "encoder.final_layer_norm.weight"
_SCALED = "scaled_fp8"
_EXTRA = re.compile(
    r".*\.(scale_weight|scale_input|weight_scale|weight_scale_2|input_scale|comfy_quant|"
    r"pre_quant_scale)|" + _SCALED
)
"""What ComfyUI's quantised files keep beside the weights."""
_QUANTISATION = "_quantization_metadata"

_TOKENIZER_FILES = ("spiece.model", "tokenizer.json")
_TOKENIZER_FOLDERS = ("", "tokenizer", "../tokenizer")


@dataclass(frozen=True)
class T5File:
    """An opened text encoder; its tensors are mapped, not read, where the files allow."""

    files: OpenedFiles
    shape: T5Shape
    tensors: dict[str, Tensor]
    """Those of the encoder, under transformers' names."""
    extras: dict[str, Tensor]
    """What belongs to quantised weights: scales and the names of their formats."""
    metadata: dict[str, str]
    """What a safetensors file says of its quantisation."""

    @property
    def name(self) -> str:
        """What users know it by."""
        return self.files.source.name


def tokenizer_of(source: Source) -> Path | None:
    """Return the tokenizer file in the folder of the weights or of their pipeline, if any."""
    folder = source.folder
    places = [folder / place for place in _TOKENIZER_FOLDERS] if folder else []
    found = (place / name for place in places for name in _TOKENIZER_FILES)
    return next((path for path in found if path.is_file()), None)


def open_t5(path: Path) -> T5File:
    """Open a T5 v1.1 encoder: a file, one of several, or a folder as transformers keeps it.

    A decoder is left out. Raises CheckpointError for anything else, and where tensors are missing.
    """
    files = open_files(path, TEXT_ENCODER)
    prefix = _prefix_of(files.tensors)
    tensors = _without(prefix, files.tensors)
    extras = {
        key: tensor
        for key, tensor in tensors.items()
        if _EXTRA.fullmatch(key) and not key.startswith("decoder.")
    }
    plain = {key: tensor for key, tensor in tensors.items() if key not in extras}
    shape = detect_t5(shapes_of(plain))
    plain = encoder_tensors(plain)
    check_complete(shapes_of(plain), tensor_shapes(shape), "T5 encoder")
    return T5File(files, shape, plain, extras, _metadata(prefix, files.source.files))


def _prefix_of(tensors: Mapping[str, Tensor]) -> str:
    """Return what ComfyUI puts before the names when it saves a text encoder."""
    marked = (key for key in tensors if key.endswith(_MARK))
    return min(marked, key=len, default=_MARK).removesuffix(_MARK)


def _without(prefix: str, named: Mapping[str, Value]) -> dict[str, Value]:
    return {
        key.removeprefix(prefix): value for key, value in named.items() if key.startswith(prefix)
    }


def _metadata(prefix: str, files: tuple[Path, ...]) -> dict[str, str]:
    layers: dict[str, object] = {}
    for file in files:
        if file.suffix.lower() in SAFETENSORS:
            layers |= _without(prefix, _quantised_layers(file))
    return {_QUANTISATION: json.dumps({"layers": layers})} if layers else {}


def _quantised_layers(file: Path) -> dict[str, object]:
    try:
        with safe_open(file, framework="pt") as opened:
            said = parse_json((opened.metadata() or {}).get(_QUANTISATION, "{}"))
    except (SafetensorError, OSError, ValueError):
        return {}
    layers = said.get("layers") if isinstance(said, dict) else None
    return layers if isinstance(layers, dict) else {}
