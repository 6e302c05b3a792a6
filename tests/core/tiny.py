"""Tiny models with the real classes: a diffusers transformer and ours, with the same weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import PixArtTransformer2DModel
from torch import Tensor

from pixart_core.checkpoint.detect import detect
from pixart_core.checkpoint.layouts import to_original
from pixart_core.checkpoint.reading import shapes_of
from pixart_core.network import PixArtTransformer


@dataclass(frozen=True)
class TinyFamily:
    """One released family, made small."""

    name: str
    sample_size: int
    """Side in latent pixels, as in diffusers' config."""
    interpolation_scale: float
    size_conditions: bool
    tokens: int


FAMILIES = (
    TinyFamily("alpha-256", 32, 1, False, 120),
    TinyFamily("alpha-512", 64, 1, False, 120),
    TinyFamily("alpha-1024", 128, 2, True, 120),
    TinyFamily("sigma-512", 64, 1, False, 300),
    TinyFamily("sigma-1024", 128, 2, False, 300),
)


def diffusers_transformer(family: TinyFamily, seed: int = 0) -> PixArtTransformer2DModel:
    """Return diffusers' transformer with random weights, none of them zero or one."""
    torch.manual_seed(seed)
    model = PixArtTransformer2DModel(
        num_attention_heads=3,
        attention_head_dim=72,
        num_layers=3,
        in_channels=4,
        out_channels=8,
        sample_size=family.sample_size,
        interpolation_scale=family.interpolation_scale,
        use_additional_conditions=family.size_conditions,
        caption_channels=64,
        cross_attention_dim=216,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    return model.eval()


def our_transformer(reference: PixArtTransformer2DModel, family: TinyFamily) -> PixArtTransformer:
    """Return ours with the weights of diffusers'."""
    weights = to_original(reference.state_dict())
    info = detect(shapes_of(weights), chosen=family.name)
    model = PixArtTransformer(info.network)
    model.load_state_dict(weights)
    return model.eval()


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """Return the L2 distance over the L2 length of what is wanted."""
    difference = (found.double() - wanted.double()).norm()
    return float(difference / wanted.double().norm())
