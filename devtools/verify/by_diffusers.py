"""The same prompts by diffusers and transformers alone, from the same files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import PixArtTransformer2DModel
from torch import Tensor
from tqdm import tqdm
from transformers import T5EncoderModel, T5TokenizerFast

from devtools.environment import host_folder
from devtools.pipelines import DRAWING, Prompts, reference_latent
from pixart_core.checkpoint.convert import diffusers_config
from pixart_core.checkpoint.layouts import to_diffusers
from pixart_core.checkpoint.opening import OpenedModel
from pixart_core.text.t5 import transformers_config
from pixart_core.text.t5_file import open_t5

from .sheet import NEGATIVE, Course, Item

Encoded = tuple[Tensor, Tensor]
"""Embedding (1, L, C) and mask (1, L)."""


def draw(
    model: OpenedModel, t5: Path, items: Sequence[Item], course: Course, t5_dtype: torch.dtype
) -> list[Tensor]:
    """Return the final latents (1, 4, h, w) in the model's scale, fp32, on the CPU.

    T5 and the transformer are in memory one after the other.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    texts = [NEGATIVE, *(item.prompt for item in items)]
    negative, *positives = list(_encoded(t5, texts, t5_dtype, device))
    transformer = _transformer(model).to(device)
    return [
        _latent(transformer, _pair(positive, negative), item, course, device)
        for item, positive in zip(tqdm(items, desc="diffusers"), positives, strict=True)
    ]


@torch.no_grad()
def _encoded(
    path: Path, texts: Sequence[str], dtype: torch.dtype, device: torch.device
) -> Iterator[Encoded]:
    folder = host_folder() / "comfy" / "text_encoders" / "t5_tokenizer"
    tokenizer = T5TokenizerFast.from_pretrained(folder, local_files_only=True)
    encoder = _encoder(path, dtype).to(device)
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]], device=device)
        yield encoder(ids).last_hidden_state.float(), torch.ones_like(ids)


def _encoder(path: Path, dtype: torch.dtype) -> Any:
    opened = open_t5(path)
    with torch.device("meta"):
        encoder = T5EncoderModel(transformers_config(opened.shape))
    tensors = {key: tensor.to(dtype) for key, tensor in opened.tensors.items()}
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"]
    encoder.load_state_dict(tensors, assign=True)
    return encoder.eval()


def _transformer(model: OpenedModel) -> PixArtTransformer2DModel:
    transformer = PixArtTransformer2DModel.from_config(diffusers_config(model))
    tensors = {key: tensor.float() for key, tensor in model.tensors()}
    transformer.load_state_dict(to_diffusers(tensors))
    return transformer.eval()


def _pair(positive: Encoded, negative: Encoded) -> Prompts:
    """Lengthen the shorter, as the pipeline needs it."""
    longest = max(mask.shape[1] for _, mask in (positive, negative))
    return Prompts(*_padded(positive, longest), *_padded(negative, longest))


def _padded(encoded: Encoded, length: int) -> Encoded:
    embedding, mask = encoded
    missing = length - mask.shape[1]
    pad = torch.nn.functional.pad
    return pad(embedding, (0, 0, 0, missing)), pad(mask, (0, missing))


def _latent(
    transformer: PixArtTransformer2DModel,
    prompts: Prompts,
    item: Item,
    course: Course,
    device: torch.device,
) -> Tensor:
    side = course.side // 8
    # What the host draws for this seed, on whatever machine.
    noise = torch.randn(1, 4, side, side, generator=torch.manual_seed(item.seed))
    generator = torch.Generator().manual_seed(item.seed) if course.solver in DRAWING else None
    latent = reference_latent(
        *(transformer, course.solver, prompts, noise.to(device), course.steps, course.guidance),
        generator,
        sigma=course.sigma,
    )
    return latent.float().cpu()
