"""Models of the real classes with random weights: diffusers' transformer and ours, the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import PixArtTransformer2DModel
from torch import Tensor

from pixart_core.checkpoint.detect import detect
from pixart_core.checkpoint.layouts import to_original
from pixart_core.checkpoint.reading import shapes_of
from pixart_core.network import PixArtTransformer


@dataclass(frozen=True)
class Scale:
    """How large a model is made."""

    heads: int
    layers: int
    caption_channels: int


TINY = Scale(3, 3, 64)
FULL = Scale(16, 28, 4096)
"""The released models' own."""


@dataclass(frozen=True)
class ReferenceFamily:
    """One released family, as diffusers' config says it."""

    name: str
    sample_size: int
    """Side in latent pixels, as in diffusers' config."""
    interpolation_scale: float
    size_conditions: bool
    tokens: int


FAMILIES = (
    ReferenceFamily("alpha-256", 32, 1, False, 120),
    ReferenceFamily("alpha-512", 64, 1, False, 120),
    ReferenceFamily("alpha-1024", 128, 2, True, 120),
    ReferenceFamily("sigma-512", 64, 1, False, 300),
    ReferenceFamily("sigma-1024", 128, 2, False, 300),
    ReferenceFamily("sigma-256", 32, 0.5, False, 300),
    ReferenceFamily("alpha-512-ms", 64, 1, True, 120),
    ReferenceFamily("alpha-512-dmd", 64, 1, False, 120),
    ReferenceFamily("alpha-1024-lcm", 128, 2, True, 120),
    ReferenceFamily("sigma-2k", 256, 4, False, 300),
)


def diffusers_transformer(
    family: ReferenceFamily, scale: Scale = TINY, seed: int = 0
) -> PixArtTransformer2DModel:
    """Return diffusers' transformer with random weights, none of them zero or one."""
    torch.manual_seed(seed)
    model = PixArtTransformer2DModel(
        num_attention_heads=scale.heads,
        attention_head_dim=72,
        num_layers=scale.layers,
        in_channels=4,
        out_channels=8,
        sample_size=family.sample_size,
        interpolation_scale=family.interpolation_scale,
        use_additional_conditions=family.size_conditions,
        caption_channels=scale.caption_channels,
        cross_attention_dim=72 * scale.heads,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    return model.eval()


def our_transformer(
    reference: PixArtTransformer2DModel, family: ReferenceFamily
) -> PixArtTransformer:
    """Return ours with the weights of diffusers', some of them shared."""
    weights = to_original(reference.state_dict())
    info = detect(shapes_of(weights), chosen=family.name)
    model = PixArtTransformer(info.network, device="meta")
    model.load_state_dict(weights, assign=True)
    return model.eval()


@torch.no_grad()
def diffusers_output(
    reference: Any,
    x: Tensor,
    t: Tensor,
    context: Tensor,
    mask: Tensor | None,
    size: Tensor,
) -> Tensor:
    """Run diffusers' transformer on what ours takes; the size counts only where it conditions."""
    sides = size.float()
    conditions = {"resolution": sides, "aspect_ratio": sides[:, :1] / sides[:, 1:]}
    out: Tensor = reference(
        x,
        encoder_hidden_states=context,
        encoder_attention_mask=mask,
        timestep=t,
        added_cond_kwargs=conditions
        if reference.use_additional_conditions
        else dict.fromkeys(conditions),
        return_dict=False,
    )[0]
    return out


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """Return the L2 distance over the L2 length of what is wanted."""
    difference = (found.double() - wanted.double()).norm()
    return float(difference / wanted.double().norm())
