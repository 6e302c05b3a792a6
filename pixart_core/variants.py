"""The released PixArt families and what their files do not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["alpha", "sigma"]
Solver = Literal["DPM-Solver++", "LCM", "DMD"]

LATENT_PIXEL = 8
"""Pixels of the picture to one of its latent, along each side."""


@dataclass(frozen=True)
class Variant:
    """One trained family: the facts that a wrong guess would silently get wrong."""

    name: str
    """What users choose by."""
    family: Family
    sample_size: int
    """Trained side in pixels; it names the bucket table too."""
    tokens: int
    """Most T5 tokens of a prompt, the end token included."""
    position_range: int
    """Coordinate range R of the position grid."""
    latent_scale: float
    """Factor from the VAE's latent to the model's: 0.18215 for SD's VAE, 0.13025 for SDXL's."""
    size_conditions: bool
    """Whether the picture's size is a condition."""
    releases: str
    """Published models of this kind."""
    solver: Solver = "DPM-Solver++"
    steps: int = 20
    guidance: float = 4.5
    """1 is none."""


_SD, _SDXL = 0.18215, 0.13025

VARIANTS = {
    variant.name: variant
    for variant in (
        Variant(
            *("alpha-256", "alpha", 256, 120, 16, _SD, False),
            releases="PixArt-XL-2-256x256, PixArt-XL-2-SAM-256x256",
        ),
        Variant(
            *("alpha-512", "alpha", 512, 120, 32, _SD, False),
            releases="PixArt-XL-2-512x512, and the base in PixArt-XL-2-512-ControlNet",
        ),
        Variant(
            *("alpha-512-dmd", "alpha", 512, 120, 32, _SD, False),
            releases="PixArt-Alpha-DMD-XL-2-512x512",
            solver="DMD",
            steps=1,
            guidance=1.0,
        ),
        Variant(
            *("alpha-512-ms", "alpha", 512, 120, 32, _SD, True),
            releases="none; what the training configuration of that name makes",
        ),
        Variant(
            *("alpha-1024", "alpha", 1024, 120, 32, _SD, True),
            releases="PixArt-XL-2-1024-MS, and the base in PixArt-XL-2-1024-ControlNet",
        ),
        Variant(
            *("alpha-1024-lcm", "alpha", 1024, 120, 32, _SD, True),
            releases="PixArt-LCM-XL-2-1024-MS",
            solver="LCM",
            steps=4,
            guidance=1.0,
        ),
        Variant(
            *("sigma-256", "sigma", 256, 300, 32, _SDXL, False),
            releases="PixArt-Sigma-XL-2-256x256",
        ),
        Variant(
            *("sigma-512", "sigma", 512, 300, 32, _SDXL, False),
            releases="PixArt-Sigma-XL-2-512-MS",
        ),
        Variant(
            *("sigma-1024", "sigma", 1024, 300, 32, _SDXL, False),
            releases="PixArt-Sigma-XL-2-1024-MS, PixArt-900M",
        ),
        Variant(
            *("sigma-2k", "sigma", 2048, 300, 32, _SDXL, False),
            releases="PixArt-Sigma-XL-2-2K-MS",
        ),
    )
}

LONGEST_PROMPT = max(variant.tokens for variant in VARIANTS.values())
"""Most tokens that any variant takes."""

VAES = {
    _SD: "the VAE of Stable Diffusion 1.x (sd-vae-ft-ema)",
    _SDXL: "the VAE of SDXL",
}
"""Which VAE belongs to a latent scale."""
