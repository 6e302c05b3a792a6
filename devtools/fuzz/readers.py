"""What reads files: each with a good file to damage, small so that many can be tried."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from pixart_core.checkpoint.control import open_control
from pixart_core.checkpoint.hints import NOTE
from pixart_core.checkpoint.layouts import to_diffusers
from pixart_core.checkpoint.opening import open_model
from pixart_core.lora.adapters import alpha_of, host_parts
from pixart_core.lora.reading import Adapter, read_lora
from pixart_core.lora.settings import read_settings
from pixart_core.lora.targets import targets_of
from pixart_core.network import NetworkConfig, PixArtTransformer
from pixart_core.network.control import PixArtControl
from pixart_core.text.saved import PromptNote, SavedPrompt, load_prompt, save_prompt
from pixart_core.text.styles import read_styles
from pixart_core.text.t5 import T5Shape, tensor_shapes
from pixart_core.text.t5_file import open_t5

_NETWORK = NetworkConfig(2, 72, 288, 4, 8, 2, 32, 16, False, 120)
_SHARD = "diffusion_pytorch_model-00001-of-00001.safetensors"
_T5 = T5Shape(layers=1, width=8, heads=2, head_size=4, mlp_size=8)


@dataclass(frozen=True)
class Reader:
    """A reader, and what it should bear to be given."""

    name: str
    suffix: str
    good: Callable[[Path], bytes]
    """Makes a good file's content; it may use the folder."""
    read: Callable[[Path], object]


def _tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {key: torch.randn(value.shape).half() for key, value in model.state_dict().items()}


def _model(_: Path) -> bytes:
    return save(_tensors(PixArtTransformer(_NETWORK)), {"format": "pt", NOTE: "alpha-256"})


def _diffusers(_: Path) -> bytes:
    tensors = to_diffusers(_tensors(PixArtTransformer(_NETWORK)))
    return save({key: value.clone() for key, value in tensors.items()})


def _pickle(_: Path) -> bytes:
    out = io.BytesIO()
    torch.save({"state_dict": _tensors(PixArtTransformer(_NETWORK)), "epoch": 3}, out)
    return out.getvalue()


def _control(_: Path) -> bytes:
    return save(_tensors(PixArtControl(_NETWORK, device="meta")))


def _legacy(_: Path) -> bytes:
    out = io.BytesIO()
    content = {"state_dict": _tensors(PixArtTransformer(_NETWORK))}
    torch.save(content, out, _use_new_zipfile_serialization=False)
    return out.getvalue()


def _index(_: Path) -> bytes:
    names = to_diffusers(_tensors(PixArtTransformer(_NETWORK)))
    told = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, _SHARD)}
    return json.dumps(told).encode()


def _config(_: Path) -> bytes:
    told = {"_class_name": "PixArtTransformer2DModel", "sample_size": 32, "interpolation_scale": 1}
    return json.dumps({**told, "num_layers": 2, "cross_attention_dim": 72}).encode()


def _t5(_: Path) -> bytes:
    return save({key: torch.zeros(shape).half() for key, shape in tensor_shapes(_T5).items()})


def _lora(_: Path) -> bytes:
    names = [f"base_model.model.transformer_blocks.{i}.attn2.to_q" for i in range(2)]
    names += ["lora_unet_transformer_blocks_0_attn1_to_k", "transformer.proj_out"]
    parts = {"lora_A.weight": (2, 72), "lora_B.weight": (72, 2), "alpha": ()}
    tensors = {f"{n}.{part}": torch.ones(shape) for n in names for part, shape in parts.items()}
    kin = {
        "transformer_blocks.1.attn1.to_v.lora_A.weight": (2, 72),
        "transformer_blocks.1.attn1.to_v.lora_B.weight": (72, 2),
        "transformer_blocks.1.attn1.to_v.lora_magnitude_vector.weight": (72,),
        "transformer_blocks.1.attn1.to_q.oft_R.weight": (9, 28),
        **{f"transformer_blocks.0.attn1.to_q.hada_w{i}_a": (72, 2) for i in (1, 2)},
        **{f"transformer_blocks.0.attn1.to_q.hada_w{i}_b": (2, 72) for i in (1, 2)},
        "transformer_blocks.0.attn1.to_v.lokr_w1": (8, 8),
        "transformer_blocks.0.attn1.to_v.lokr_w2": (9, 9),
    }
    tensors |= {f"base_model.model.{name}": torch.rand(shape) for name, shape in kin.items()}
    return save({**tensors, "transformer.proj_out.lora_B.weight": torch.ones(32, 2)})


def _prompt(folder: Path) -> bytes:
    path = folder / "good.safetensors"
    embedding, mask = torch.randn(2, 5, 8), torch.ones(2, 5, dtype=torch.long)
    save_prompt(path, SavedPrompt(embedding, mask, PromptNote(text="a cat", family="alpha")))
    content = path.read_bytes()
    path.unlink()
    return content


def _styles(_: Path) -> bytes:
    rows = ["name,prompt,negative_prompt", 'Mine,"{prompt}, in oil","bad, ""worse"""', "Two,b,"]
    return "\n".join(rows).encode()


def _settings(_: Path) -> bytes:
    told = {"r": 8, "lora_alpha": 16, "use_rslora": True, "alpha_pattern": {"attn1.*": 4}}
    return json.dumps({**told, "target_modules": ["to_q"], "peft_type": "LORA"}).encode()


def _read_lora(path: Path) -> object:
    weights = {k: v.float() for k, v in _tensors(PixArtTransformer(_NETWORK)).items()}
    file = read_lora(path, targets_of({key: tuple(value.shape) for key, value in weights.items()}))

    def rows_of(adapter: Adapter) -> Tensor:
        start = adapter.target.start or 0
        return weights[adapter.target.key][start : start + adapter.target.shape[0]]

    return [
        host_parts(adapter, alpha_of(adapter, file.settings, 0.0), file.settings, rows_of)
        for adapter in file.adapters
    ]


def _read_settings(path: Path) -> object:
    beside = path.with_name("adapter_config.json")
    path.rename(beside)
    return read_settings(beside.with_name("adapter_model.safetensors"))


def _read_index(path: Path) -> object:
    path.rename(path.with_name("diffusion_pytorch_model.safetensors.index.json"))
    path.with_name(_SHARD).write_bytes(_diffusers(path.parent))
    return _read_model(path.parent)


def _read_config(path: Path) -> object:
    path.rename(path.with_name("config.json"))
    path.with_name("diffusion_pytorch_model.safetensors").write_bytes(_diffusers(path.parent))
    return _read_model(path.parent)


def _read_model(path: Path) -> object:
    opened = open_model(path)
    opened.check_complete()
    return [float(tensor.float().sum()) for _, tensor in opened.tensors()]


READERS = (
    Reader("model", ".safetensors", _model, _read_model),
    Reader("diffusers-model", ".safetensors", _diffusers, _read_model),
    Reader("pickled-model", ".pth", _pickle, _read_model),
    Reader("old-model", ".pth", _legacy, _read_model),
    Reader("model-index", ".json", _index, _read_index),
    Reader("model-config", ".json", _config, _read_config),
    Reader("controlnet", ".safetensors", _control, open_control),
    Reader("t5", ".safetensors", _t5, open_t5),
    Reader("lora", ".safetensors", _lora, _read_lora),
    Reader("lora-settings", ".json", _settings, _read_settings),
    Reader("prompt", ".safetensors", _prompt, load_prompt),
    Reader("styles", ".csv", _styles, read_styles),
)
