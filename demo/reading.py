"""The demo's T5 learns first, alone and in a minute or two, to say what a caption names.

Taught by the denoiser's loss, that took thousands of its steps. What it names is read by one linear
layer from the mean of its tokens, which is what an untrained cross-attention sees too.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from transformers import T5EncoderModel

from .captions import Caption, Captioner, new_encoder
from .recipe import TEXT, Recipe
from .scenes import COLOURS, PLACES, SHAPES, SIZES, random_scene

_NAMES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "ground": tuple(COLOURS),
    "size": tuple(filter(None, SIZES)),
    "place": tuple(filter(None, PLACES)),
}
"""What a caption may name; the answer is 0 where it does not."""
_CHOICES = [len(names) + 1 for names in _NAMES.values()]
_WARM_UP = 100
_READER_DECAY = 0.3
"""Keeps the reader weak, so that it is the encoder that tells things apart."""


def train_reader(recipe: Recipe, captioner: Captioner, device: torch.device) -> T5EncoderModel:
    """Return a T5 that knows what captions name."""
    rng = random.Random(f"reading {recipe.seed}")
    encoder = new_encoder(recipe.seed).to(device)
    reader = nn.Linear(TEXT.d_model, sum(_CHOICES), device=device)
    optimizer = torch.optim.AdamW(
        [
            {"params": list(encoder.parameters()), "weight_decay": 0.0},
            {"params": list(reader.parameters()), "weight_decay": _READER_DECAY},
        ],
        recipe.reading_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        recipe.reading_rate,
        total_steps=recipe.reading_steps,
        pct_start=min(0.3, _WARM_UP / recipe.reading_steps),
        cycle_momentum=False,
    )
    bar = tqdm(range(recipe.reading_steps), desc="t5")
    for _ in bar:
        told = [captioner.caption(random_scene(rng)) for _ in range(recipe.reading_batch - 1)]
        loss = _loss(encoder, reader, captioner, told, device)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*encoder.parameters(), *reader.parameters()], 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.4f}")
    return encoder.cpu().eval().requires_grad_(False)


def _loss(
    encoder: T5EncoderModel,
    reader: nn.Linear,
    captioner: Captioner,
    told: list[Caption],
    device: torch.device,
) -> Tensor:
    """Return how badly captions are read; the last row is the empty one."""
    ids, mask = (part.to(device) for part in captioner.rows(told, empty=1))
    answers = torch.tensor([*map(_answer, told), [0] * len(_NAMES)], device=device)
    tokens: Tensor = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    real = mask[..., None].float()
    said = reader((tokens * real).sum(1) / real.sum(1)).split(_CHOICES, 1)
    parts = [functional.cross_entropy(part, answers[:, i]) for i, part in enumerate(said)]
    return torch.stack(parts).sum()


def _answer(caption: Caption) -> list[int]:
    """Return, for each kind, the index of what is named plus one, or 0."""
    named = [caption.named.get(kind, "") for kind in _NAMES]
    return [
        names.index(name) + 1 if name else 0
        for names, name in zip(_NAMES.values(), named, strict=True)
    ]
