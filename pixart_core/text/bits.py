"""T5 in 8 or 4 bits: transformers and bitsandbytes, imported when they are asked for."""

from __future__ import annotations

import importlib.metadata
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..errors import PixArtError
from ..memory import in_own_memory
from .t5 import T5Shape

_NEEDED = {"bitsandbytes": (0, 46), "accelerate": (1, 0)}
"""The oldest versions with which this was seen to work, or that transformers asks for."""


class MissingPackageError(PixArtError):
    """A package that only some choices need is absent or too old."""


def load_in_bits(tensors: Mapping[str, Tensor], shape: T5Shape, bits: int) -> Any:
    """Return a ``T5EncoderModel`` on the CPU with 8-bit or 4-bit (nf4) weights.

    ``tensors`` have transformers' names. The layers ``wo`` stay in bf16: bitsandbytes' rounding
    of their large inputs is what T5 bears least. Raises MissingPackageError.
    """
    check_packages()
    from transformers import BitsAndBytesConfig, T5Config, T5EncoderModel

    _import_bitsandbytes()
    with quiet():
        config = T5Config(
            d_model=shape.width,
            d_kv=shape.head_size,
            d_ff=shape.mlp_size,
            num_layers=shape.layers,
            num_heads=shape.heads,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
        )
        quantisation = (
            BitsAndBytesConfig(load_in_8bit=True)
            if bits == 8
            else BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_compute_dtype=torch.bfloat16,
            )
        )
        model = T5EncoderModel.from_pretrained(
            None,
            config=config,
            state_dict=dict(tensors),
            quantization_config=quantisation,
            dtype=torch.bfloat16,
            device_map={"": "cpu"},
        )
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            # Nor may anything of a mapped file stay in the model: the file may be replaced.
            parameter.data = in_own_memory(parameter.data)
        settle(module)
    return model.eval()


def settle(module: Any) -> None:
    """Give an 8-bit layer one copy of its weight, where only the layer's ``to`` can move it.

    bitsandbytes does so in a layer's first forward; until then a move leaves the scales behind,
    and each move since makes a second copy of the weight.
    """
    state = getattr(module, "state", None)
    if not hasattr(module, "init_8bit_state") or state is None:
        return
    if module.weight.CB is not None:
        module.init_8bit_state()
        state.CB = module.weight.data
    module.weight.data = state.CB


def check_packages() -> None:
    """Raise MissingPackageError unless bitsandbytes and accelerate are there and new enough."""
    for name, oldest in _NEEDED.items():
        wanted = ".".join(map(str, oldest))
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if not version or _numbers(version) < oldest:
            raise MissingPackageError(
                "T5 cannot be loaded in 8 or 4 bits",
                found=f"{name} {version}" if version else f"no package {name}",
                expected=f"{name} {wanted} or newer",
                advice=f'Install it with: "{sys.executable}" -m pip install "{name}>={wanted}", '
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
    """Keep bitsandbytes, which tells of every layer's input, and transformers out of the log."""
    from transformers.utils import logging as transformers_logging

    loggers = [logging.getLogger(name) for name in ("bitsandbytes", "transformers")]
    levels = [logger.level for logger in loggers]
    had_bar = transformers_logging.is_progress_bar_enabled()
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        transformers_logging.disable_progress_bar()
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if had_bar:
            transformers_logging.enable_progress_bar()
