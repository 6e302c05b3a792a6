"""T5 in 8 or 4 bits: transformers and bitsandbytes, imported when they are asked for."""

from __future__ import annotations

import importlib.metadata
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import PixArtError
from ..memory import give_back, in_own_memory
from .t5 import T5Shape, transformers_config

_OLDEST = (0, 46)
"""The first bitsandbytes that quantises on the CPU, too."""

_LEFT_WIDE = "wo"


class MissingPackageError(PixArtError):
    """A package that only some choices need is absent or too old."""


def load_in_bits(tensors: Iterable[tuple[str, Tensor]], shape: T5Shape, bits: int) -> Any:
    """Return a ``T5EncoderModel`` on the CPU with 8-bit or 4-bit (nf4) weights.

    ``tensors`` come under transformers' names and are quantised one by one, so that no second
    copy of the model is ever in memory. The layers ``wo`` stay in bf16: rounding is what T5 bears
    least there. Raises MissingPackageError.
    """
    check_package()
    _import_bitsandbytes()
    model = _empty_model(shape, bits)
    modules = dict(model.named_modules())
    with quiet():
        for key, tensor in tensors:
            _fill(modules[key.removesuffix(".weight")], tensor)
            # Quantising leaves holes that the next tensor does not fit into: gigabytes in all.
            give_back()
    return model.eval()


def _empty_model(shape: T5Shape, bits: int) -> Any:
    from transformers import T5EncoderModel

    with torch.device("meta"):
        model = T5EncoderModel(transformers_config(shape))
        for module in list(model.modules()):
            for name, layer in list(module.named_children()):
                if isinstance(layer, nn.Linear) and name != _LEFT_WIDE:
                    setattr(module, name, _quantised_layer(layer, bits))
    # The same as ``shared``, from which the embeddings come ready.
    model.encoder.embed_tokens = None
    return model


def _quantised_layer(layer: nn.Linear, bits: int) -> nn.Module:
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    sides = layer.in_features, layer.out_features
    quantised: nn.Module = (
        Linear8bitLt(*sides, bias=False, has_fp16_weights=False)
        if bits == 8
        else Linear4bit(*sides, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
    )
    return quantised


def _fill(module: Any, tensor: Tensor) -> None:
    from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt, Params4bit

    # Nothing of a mapped file may stay in the model, since the file may be replaced.
    if isinstance(module, Linear8bitLt):
        module.weight = Int8Params(tensor, requires_grad=False).to("cpu")
        module.init_8bit_state()
        module.state.CB = in_own_memory(module.state.CB)
        settle(module)
    elif isinstance(module, Linear4bit):
        weight = Params4bit(tensor, requires_grad=False, quant_type="nf4", module=module)
        module.weight = weight.to("cpu")
        module.weight.data = in_own_memory(module.weight.data)
    else:
        module.weight = nn.Parameter(in_own_memory(tensor, torch.bfloat16), requires_grad=False)


def settle(module: nn.Module) -> None:
    """Give an 8-bit layer one copy of its weight again, after the layer was moved.

    The layer moves its state, with the scales; its parameter moves by itself, as a second copy.
    """
    state: Any = getattr(module, "state", None)
    if getattr(state, "CB", None) is not None:
        module.weight.data = state.CB


def check_package() -> None:
    """Raise MissingPackageError unless bitsandbytes is there and new enough."""
    wanted = ".".join(map(str, _OLDEST))
    try:
        version = importlib.metadata.version("bitsandbytes")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    if not version or _numbers(version) < _OLDEST:
        raise MissingPackageError(
            "T5 cannot be loaded in 8 or 4 bits",
            found=f"bitsandbytes {version}" if version else "no package bitsandbytes",
            expected=f"bitsandbytes {wanted} or newer",
            advice=f'Install it with: "{sys.executable}" -m pip install "bitsandbytes>={wanted}", '
            'and restart ComfyUI; or set the precision to "int8 (offloadable)", which needs '
            "no package.",
        )


def _numbers(version: str) -> tuple[int, ...]:
    first = version.split("+")[0].split(".")[:2]
    return tuple(int(part) if part.isdigit() else 0 for part in first)


def _import_bitsandbytes() -> None:
    """Import it without the network: it asks a hub for compiled code if ``kernels`` is there."""
    known = sys.modules.get("kernels")
    sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        with quiet():
            import bitsandbytes  # noqa: F401
    finally:
        if known is None:
            del sys.modules["kernels"]
        else:
            sys.modules["kernels"] = known


@contextmanager
def quiet() -> Iterator[None]:
    """Keep bitsandbytes, which tells of every layer's input, out of the log."""
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
