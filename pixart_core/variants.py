"""The released PixArt families and what their files do not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["alpha", "sigma"]


@dataclass(frozen=True)
class Variant:
    """One trained family: the facts that a wrong guess would silently get wrong."""

    name: str
    """What users choose by."""
    family: Family
    sample_size: int
    """Trained side in pixels."""
    tokens: int
    """Most T5 tokens of a prompt, the end token included."""
    position_range: int
    """Coordinate range R of the position grid."""
    latent_scale: float
    """Factor from the VAE's latent to the model's: 0.18215 for SD's VAE, 0.13025 for SDXL's."""
    size_conditions: bool
    """Whether the picture's size is a condition."""


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("alpha-256", "alpha", 256, 120, 16, 0.18215, size_conditions=False),
        Variant("alpha-512", "alpha", 512, 120, 32, 0.18215, size_conditions=False),
        Variant("alpha-1024", "alpha", 1024, 120, 32, 0.18215, size_conditions=True),
        Variant("sigma-256", "sigma", 256, 300, 32, 0.13025, size_conditions=False),
        Variant("sigma-512", "sigma", 512, 300, 32, 0.13025, size_conditions=False),
        Variant("sigma-1024", "sigma", 1024, 300, 32, 0.13025, size_conditions=False),
        Variant("sigma-2k", "sigma", 2048, 300, 32, 0.13025, size_conditions=False),
    )
}

LONGEST_PROMPT = max(variant.tokens for variant in VARIANTS.values())
"""Most tokens that any variant takes."""
