"""The demo T5 in every form in which people keep a T5."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from .conftest import DEMO

Tensors = dict[str, Tensor]


def demo_tensors() -> Tensors:
    """Return the demo T5 in fp32."""
    return {key: value.float() for key, value in load_file(DEMO["text_encoders"]).items()}


def _single(dtype: torch.dtype) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "t5.safetensors"
        save_file({key: value.to(dtype) for key, value in demo_tensors().items()}, path)
        return path

    return write


def _folder(suffix: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        tensors = demo_tensors()
        stem = "model" if suffix == ".safetensors" else "pytorch_model"
        tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"].clone()
        keys = sorted(tensors)
        halves = {f"{stem}-0000{i + 1}-of-00002{suffix}": keys[i::2] for i in range(2)}
        for name, own in halves.items():
            part = {key: tensors[key] for key in own}
            if suffix == ".bin":
                torch.save(part, folder / name)
            else:
                save_file(part, folder / name)
        index = {"weight_map": {key: name for name, own in halves.items() for key in own}}
        (folder / f"{stem}{suffix}.index.json").write_text(json.dumps(index), encoding="utf-8")
        (folder / "config.json").write_text("{}", encoding="utf-8")
        return folder

    return write


def _part_of_a_folder(folder: Path) -> Path:
    return _folder(".bin")(folder) / "pytorch_model-00002-of-00002.bin"


def _pipeline(folder: Path) -> Path:
    inner = folder / "text_encoder"
    inner.mkdir()
    _folder(".safetensors")(inner)
    return folder


def _with_decoder(folder: Path) -> Path:
    extra = {"decoder.block.0.layer.0.SelfAttention.q.weight": torch.ones(2, 2)}
    path = folder / "t5.safetensors"
    save_file({**demo_tensors(), **extra, "lm_head.weight": torch.ones(2, 2)}, path)
    return path


def _saved_by_the_host(folder: Path) -> Path:
    path = folder / "t5.safetensors"
    prefixed = {f"text_encoders.t5xxl.transformer.{k}": v for k, v in demo_tensors().items()}
    save_file({**prefixed, "text_encoders.t5xxl.logit_scale": torch.tensor(4.6)}, path)
    return path


def is_linear(key: str) -> bool:
    """Whether a tensor is what quantised files quantise."""
    return ".block." in key and "norm" not in key and "bias" not in key


def _scaled_fp8(folder: Path) -> Path:
    written: Tensors = {"scaled_fp8": torch.empty(2, dtype=torch.float8_e4m3fn)}
    for key, tensor in demo_tensors().items():
        if is_linear(key):
            scale = tensor.abs().max() / 448
            written[key] = (tensor / scale).to(torch.float8_e4m3fn)
            written[f"{key.removesuffix('weight')}scale_weight"] = scale
        else:
            written[key] = tensor.half()
    path = folder / "t5xxl_fp8_e4m3fn_scaled.safetensors"
    save_file(written, path)
    return path


def _int8(folder: Path) -> Path:
    written: Tensors = {}
    said = torch.tensor(list(b'{"format": "int8_tensorwise"}'), dtype=torch.uint8)
    for key, tensor in demo_tensors().items():
        if is_linear(key):
            scale = tensor.abs().max() / 127
            written[key] = (tensor / scale).round().to(torch.int8)
            written[f"{key}_scale"] = scale
            written[f"{key.removesuffix('weight')}comfy_quant"] = said.clone()
        else:
            written[key] = tensor.half()
    path = folder / "t5-int8.safetensors"
    save_file(written, path)
    return path


def _noted_int8(folder: Path) -> Path:
    """Write the same with the formats in the file's metadata."""
    path = _int8(folder)
    tensors = {k: v for k, v in load_file(path).items() if not k.endswith("comfy_quant")}
    layers = {
        key.removesuffix(".weight"): {"format": "int8_tensorwise"}
        for key in tensors
        if is_linear(key) and key.endswith(".weight")
    }
    save_file(tensors, path, {"_quantization_metadata": json.dumps({"layers": layers})})
    return path


FORMS: dict[str, tuple[Callable[[Path], Path], float]] = {
    "fp32": (_single(torch.float32), 1e-5),
    "bf16": (_single(torch.bfloat16), 0.01),
    "fp16": (_single(torch.float16), 1e-5),
    "fp8_e4m3fn": (_single(torch.float8_e4m3fn), 0.2),
    "fp8 scaled": (_scaled_fp8, 0.05),
    "int8": (_int8, 0.05),
    "int8 by metadata": (_noted_int8, 0.05),
    "folder of .bin": (_folder(".bin"), 1e-5),
    "folder of safetensors": (_folder(".safetensors"), 1e-5),
    "one part of a folder": (_part_of_a_folder, 1e-5),
    "pipeline": (_pipeline, 1e-5),
    "with a decoder": (_with_decoder, 1e-5),
    "saved by the host": (_saved_by_the_host, 1e-5),
}
"""How to write each form, and how far its embeddings may be from fp32, relative."""
