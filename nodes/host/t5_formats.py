"""How the layers of a T5 file are quantised, checked before anything is computed with them."""

from __future__ import annotations

from dataclasses import dataclass

import comfy.quant_ops
import comfy.utils
import torch
from torch import Tensor

from ...pixart_core.checkpoint.completeness import check_finite
from ...pixart_core.errors import CheckpointError
from ...pixart_core.json_text import parse_json
from ...pixart_core.text.t5_file import T5File

SCALE, FORMAT = "weight_scale", "comfy_quant"
_LONGEST = 10_000
"""Most bytes in which a layer says its format; some hundred are usual."""
_ONE_SCALE = ("float8_e4m3fn", "float8_e5m2")
"""Formats with one scale for the whole weight."""
_ROW_SCALES = "int8_tensorwise"
"""The format with one scale, or one for each row."""
_ONE = ((), (1,), (1, 1))
"""Shapes of a single number."""
_ADVICE = "Use another file of this T5, update ComfyUI, or save the file anew with it."


@dataclass(frozen=True)
class Formats:
    """What belongs to a file's quantised weights, under today's names."""

    extras: dict[str, Tensor]
    """Scales and the names of formats."""
    by_module: dict[str, str]
    """The format of each quantised layer, by what stands before "weight"."""


def read_formats(file: T5File) -> Formats:
    """Read how the layers are quantised.

    Raises CheckpointError for what ComfyUI does not know, and for scales that do not fit.
    """
    extras = _extras(file)
    by_module = {
        module: _format_of(file, module + FORMAT, said)
        for module, said in _ending(extras, FORMAT)
        # What is said of a decoder is of no use.
        if f"{module}weight" in file.tensors
    }
    for module, _ in _ending(extras, SCALE):
        key = f"{module}weight"
        if key in file.tensors and module not in by_module:
            found = f"a scale of {key} of which no format is told"
            raise _unusable(file, found, "the format of each quantised layer")
    for module, name in by_module.items():
        _check_layer(file, module, name, extras.get(module + SCALE))
    for key, tensor in file.tensors.items():
        if not tensor.is_floating_point() and key.removesuffix("weight") not in by_module:
            found = f"{tensor.dtype} in {key}, of which no format is told"
            raise _unusable(file, found, "numbers with a fraction where nothing is quantised")
    return Formats(extras, by_module)


def _extras(file: T5File) -> dict[str, Tensor]:
    """Return what the file keeps beside its weights, names and metadata of old files brought up."""
    try:
        found, _ = comfy.utils.convert_old_quants(
            {**file.tensors, **file.extras}, "", file.metadata
        )
    # The host takes a number out of any tensor that is called a scale.
    except RuntimeError as error:
        raise _unusable(
            file, f"a scale that is no single number ({error})", "one scale for each layer"
        ) from error
    return {key: value for key, value in found.items() if key not in file.tensors}


def _ending(extras: dict[str, Tensor], name: str) -> list[tuple[str, Tensor]]:
    """Return the extras of a name, by what stands before it, the dot included."""
    return [(k.removesuffix(name), v) for k, v in extras.items() if k.endswith(f".{name}")]


def _format_of(file: T5File, key: str, said: Tensor) -> str:
    if said.dtype != torch.uint8 or said.ndim != 1 or len(said) > _LONGEST:
        found = f"no format in {key} ({said.dtype} of shape {tuple(said.shape)})"
        raise _unusable(file, found, f"at most {_LONGEST:,} letters, as uint8")
    try:
        name = parse_json(bytes(said.tolist()).decode())["format"]
        if name in comfy.quant_ops.QUANT_ALGOS:
            return str(name)
        found = f"the format {name}"
    except (ValueError, KeyError, TypeError) as error:
        found = f"no format in {key} ({error})"
    raise _unusable(file, found, f"one of {', '.join(comfy.quant_ops.QUANT_ALGOS)}")


def _check_layer(file: T5File, module: str, name: str, scale: Tensor | None) -> None:
    key = f"{module}weight"
    weight = file.tensors[key]
    if weight.ndim != 2:
        raise _unusable(file, f"a format of {key}, which is no matrix", "formats of matrices alone")
    if scale is None:
        raise _unusable(file, f"no scale of {key} in the format {name}", "one for each")
    # ComfyUI multiplies by them as they lie: in a row they would scale columns.
    shapes = {
        **dict.fromkeys(_ONE_SCALE, _ONE),
        _ROW_SCALES: (*_ONE, (len(weight), 1)),
    }.get(name, (tuple(scale.shape),))
    if tuple(scale.shape) not in shapes:
        found = f"scales of shape {tuple(scale.shape)} for {key} in the format {name}"
        raise _unusable(file, found, f"the shape {' or '.join(map(str, shapes))}")
    # Blocks' scales may be bytes.
    if scale.is_floating_point():
        check_finite(module + SCALE, scale)
    elif name in (*_ONE_SCALE, _ROW_SCALES):
        found = f"scales of {key} as {scale.dtype}"
        raise _unusable(file, found, f"numbers with a fraction in the format {name}")


def _unusable(file: T5File, found: str, expected: str) -> CheckpointError:
    return CheckpointError(
        f"{file.name} cannot be loaded", found=found, expected=expected, advice=_ADVICE
    )
