"""What reads files with the host's help: T5's quantised weights and its tokenizers.

The pack is imported with the host around it when the first good file is asked for.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from devtools.environment import host_folder
from devtools.inprocess import PACK, import_pack
from pixart_core.errors import PixArtError
from pixart_core.text.t5 import T5Shape, tensor_shapes

from .readers import Reader

_T5 = T5Shape(layers=1, width=16, heads=2, head_size=8, mlp_size=16)
_TEXT = "a (red:1.2) circle, déjà-vu \U0001f916"
_PIECES = 400
"""Words of the real vocabulary that the tokenizer keeps, so that it opens quickly."""


class _RefusedError(PixArtError):
    """A refusal of the pack that the host sees, whose classes are not those imported here."""

    def __init__(self, text: str) -> None:
        ValueError.__init__(self, text)


def _of_pack(name: str) -> Any:
    import_pack()
    return import_module(f"{PACK}.{name}")


def _reader(read: Callable[[Path], object]) -> Callable[[Path], object]:
    def reading(path: Path) -> object:
        refusal = _of_pack("pixart_core.errors").PixArtError
        try:
            return read(path)
        except refusal as error:
            raise _RefusedError(str(error)) from error

    return reading


def _t5_tensors() -> dict[str, Tensor]:
    # Now, so that the first file to be read is not charged with the time and memory of it.
    import_pack()
    torch.manual_seed(0)
    return {key: torch.randn(shape) / 4 for key, shape in tensor_shapes(_T5).items()}


def _is_quantised(key: str) -> bool:
    return ".block." in key and "norm" not in key and "bias" not in key


def _int8(_: Path) -> bytes:
    said = torch.tensor(list(b'{"format": "int8_tensorwise"}'), dtype=torch.uint8)
    written = {}
    for key, tensor in _t5_tensors().items():
        written[key] = tensor.half()
        if _is_quantised(key):
            scale = tensor.abs().amax(1, keepdim=True) / 127
            written[key] = (tensor / scale).round().to(torch.int8)
            written[f"{key}_scale"] = scale
            written[f"{key.removesuffix('weight')}comfy_quant"] = said.clone()
    return save(written)


def _fp8(_: Path) -> bytes:
    written = {"scaled_fp8": torch.empty(2, dtype=torch.float8_e4m3fn)}
    for key, tensor in _t5_tensors().items():
        written[key] = tensor.half()
        if _is_quantised(key):
            scale = tensor.abs().max() / 448
            written[key] = (tensor / scale).to(torch.float8_e4m3fn)
            written[f"{key.removesuffix('weight')}scale_weight"] = scale
    return save(written)


def _json_tokenizer(_: Path) -> bytes:
    path = host_folder() / "comfy" / "text_encoders" / "t5_tokenizer" / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"]["vocab"] = content["model"]["vocab"][:_PIECES]
    content["added_tokens"] = [e for e in content["added_tokens"] if e["id"] < _PIECES]
    return json.dumps(content).encode()


def _spiece(_: Path) -> bytes:
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([_TEXT, "a large green square on a yellow background"] * 4),
        model_writer=out, vocab_size=60, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    return out.getvalue()


def _read_t5(path: Path) -> object:
    clip = _of_pack("nodes.host.text_encoder").load_text_encoder(path, "auto", "cpu")
    return clip.encode_from_tokens(clip.tokenize(_TEXT))


def _read_tokenizer(path: Path) -> object:
    tokens = _of_pack("nodes.host.t5_tokens")
    tokenizer = tokens.PixArtTokenizer(tokenizer_data=tokens.tokenizer_data(path))
    return tokenizer.tokenize_with_weights(_TEXT)


HOST_READERS = (
    Reader("t5-int8", ".safetensors", _int8, _reader(_read_t5)),
    Reader("t5-fp8", ".safetensors", _fp8, _reader(_read_t5)),
    Reader("tokenizer", ".json", _json_tokenizer, _reader(_read_tokenizer)),
    Reader("spiece", ".model", _spiece, _reader(_read_tokenizer)),
)
