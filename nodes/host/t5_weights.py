"""T5's weights, tensor by tensor, in the precision that was asked for and the host's layouts."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import comfy.ops
import comfy.quant_ops
import comfy.utils
import torch
from torch import Tensor

from ...pixart_core.checkpoint.completeness import check_finite
from ...pixart_core.memory import in_own_memory
from ...pixart_core.text.t5_file import T5File
from .t5_formats import FORMAT, SCALE, read_formats

log = logging.getLogger("pixart")

Entries = dict[str, Tensor]
"""Of a state dict: a weight, and with it what its layout needs."""

_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
_TABLES = ("shared.weight", "relative_attention_bias.weight")


@dataclass(frozen=True)
class Layout:
    """One of the host's formats for quantised weights."""

    format: str
    options: Mapping[str, Any]
    """What its maker is told."""


INT8 = Layout("int8_tensorwise", {"per_channel": True})
FP8 = Layout("float8_e4m3fn", {"scale": "recalculate"})


class T5Weights:
    """The tensors of a T5 file, converted one by one as they are asked for."""

    def __init__(self, file: T5File, dtype: torch.dtype | None, layout: Layout | None) -> None:
        self.file = file
        self.dtype = dtype
        self.layout = layout
        self._formats = read_formats(file)

    @property
    def kept_as(self) -> str:
        """In which precision the file's weights are, in the words of the loader's choices."""
        if self._formats.by_module:
            return ", ".join(sorted(set(self._formats.by_module.values())))
        dtype = self.file.tensors["shared.weight"].dtype
        return _NAMES.get(dtype, str(dtype).removeprefix("torch."))

    @property
    def mixes_layouts(self) -> bool:
        """Whether some of the weights come quantised."""
        return self.layout is not None or bool(self._formats.by_module and self.dtype is None)

    def __iter__(self) -> Iterator[tuple[str, Entries]]:
        """Yield the name of each module and the entries of its own state dict."""
        for key, tensor in self._shown():
            module = key.removesuffix("weight")
            yield module.removesuffix("."), self._entries(key, module, tensor)

    def plain(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each tensor as real numbers, in ``dtype`` or as it is in the file."""
        for key, tensor in self._shown():
            yield key, self._cast(key, self._real(key.removesuffix("weight"), tensor))

    def _shown(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the tensors of the file, with a bar in the editor."""
        bar = comfy.utils.ProgressBar(len(self.file.tensors))
        for key, tensor in self.file.tensors.items():
            yield key, tensor
            bar.update(1)

    def _entries(self, key: str, module: str, tensor: Tensor) -> Entries:
        known = self._formats.by_module.get(module)
        wanted = self.layout.format if self.layout else known if self.dtype is None else None
        if known and known == wanted:
            extras = {name: extra.clone() for name, extra in self._extras_of(module).items()}
            return {"weight": in_own_memory(tensor), **extras}
        real = self._real(module, tensor)
        if self.layout is None or tensor.ndim < 2 or key.endswith(_TABLES):
            return {"weight": self._cast(key, real)}
        return _quantised(key, real, self.layout)

    def _real(self, module: str, tensor: Tensor) -> Tensor:
        if module not in self._formats.by_module:
            return tensor
        layer = comfy.ops.mixed_precision_ops({}, torch.float32, full_precision_mm=True).Linear(
            tensor.shape[1], tensor.shape[0], bias=False, device="cpu"
        )
        layer.load_state_dict({"weight": tensor, **self._extras_of(module)})
        real: Tensor = layer.weight.dequantize()
        return real

    def _extras_of(self, module: str) -> Entries:
        extras = self._formats.extras.items()
        return {k.removeprefix(module): v for k, v in extras if k.startswith(module)}

    def _cast(self, key: str, tensor: Tensor) -> Tensor:
        """Return a copy in ``dtype``, or one as wide as in the file where it would overflow.

        Nothing of a mapped file may stay in the model: the file may be replaced.
        """
        check_finite(key, tensor)
        dtype = self.dtype
        if dtype is None:
            # Beside small weights the tables of an fp32 file would be a tenth of the memory.
            dtype = tensor.dtype if self.layout is None else _at_most_half(tensor.dtype)
        converted = in_own_memory(tensor, dtype)
        if dtype == torch.float16 and not torch.isfinite(converted).all():
            log.warning("%s does not fit fp16 and stays %s.", key, tensor.dtype)
            return in_own_memory(tensor)
        return converted


def _at_most_half(dtype: torch.dtype) -> torch.dtype:
    return torch.bfloat16 if dtype == torch.float32 else dtype


def _quantised(key: str, tensor: Tensor, layout: Layout) -> Entries:
    name = comfy.quant_ops.QUANT_ALGOS[layout.format]["comfy_tensor_layout"]
    kind = comfy.quant_ops.get_layout_class(name)
    check_finite(key, tensor)
    data, params = kind.quantize(tensor.float(), **layout.options)
    said = json.dumps({"format": layout.format}).encode()
    return {
        "weight": in_own_memory(data),
        SCALE: params.scale.float(),
        FORMAT: torch.tensor(list(said), dtype=torch.uint8),
    }
