"""The official files that templates name: where they are, how large, and where they belong."""

from __future__ import annotations

from dataclasses import dataclass

_HUB = "https://huggingface.co"
_PIXART = f"{_HUB}/PixArt-alpha"


@dataclass(frozen=True)
class ModelFile:
    """One file to download."""

    name: str
    """Its name in the host's folder; the official ones are often all called alike."""
    url: str
    folder: str
    """Below the host's ``models``."""
    gigabytes: float


def _model(name: str, url: str, gigabytes: float) -> ModelFile:
    return ModelFile(name, f"{_PIXART}/{url}", "diffusion_models", gigabytes)


ALPHA_1024 = _model(
    "PixArt-XL-2-1024-MS.pth", "PixArt-alpha/resolve/main/PixArt-XL-2-1024-MS.pth", 2.45
)
ALPHA_512 = _model(
    "PixArt-XL-2-512x512.pth", "PixArt-alpha/resolve/main/PixArt-XL-2-512x512.pth", 2.44
)
LCM = _model(
    "PixArt-LCM-XL-2-1024-MS.safetensors",
    "PixArt-LCM-XL-2-1024-MS/resolve/main/transformer/diffusion_pytorch_model.safetensors",
    2.45,
)
DMD = _model(
    "PixArt-Alpha-DMD-XL-2-512x512.bin",
    "PixArt-Alpha-DMD-XL-2-512x512/resolve/main/transformer/diffusion_pytorch_model.bin",
    2.44,
)
SIGMA_1024 = _model(
    "PixArt-Sigma-XL-2-1024-MS.pth", "PixArt-Sigma/resolve/main/PixArt-Sigma-XL-2-1024-MS.pth", 2.44
)
SIGMA_2K = _model(
    "PixArt-Sigma-XL-2-2K-MS.pth", "PixArt-Sigma/resolve/main/PixArt-Sigma-XL-2-2K-MS.pth", 2.44
)
CONTROLNET = ModelFile(
    "PixArt-XL-2-1024-ControlNet.pth",
    f"{_PIXART}/PixArt-ControlNet/resolve/main/PixArt-XL-2-1024-ControlNet.pth",
    "controlnet",
    3.7,
)
HED = ModelFile(
    "ControlNetHED.pth",
    f"{_PIXART}/PixArt-ControlNet/resolve/main/ControlNetHED.pth",
    "controlnet",
    0.03,
)
T5 = ModelFile(
    "t5xxl_fp16.safetensors",
    f"{_HUB}/comfyanonymous/flux_text_encoders/resolve/main/t5xxl_fp16.safetensors",
    "text_encoders",
    9.79,
)
VAE_ALPHA = ModelFile(
    "vae-ft-ema-560000-ema-pruned.safetensors",
    f"{_HUB}/stabilityai/sd-vae-ft-ema-original/resolve/main/"
    "vae-ft-ema-560000-ema-pruned.safetensors",
    "vae",
    0.33,
)
VAE_SIGMA = ModelFile(
    "sdxl_vae.safetensors",
    f"{_HUB}/stabilityai/sdxl-vae/resolve/main/sdxl_vae.safetensors",
    "vae",
    0.33,
)

DEMO_MODEL, DEMO_T5, DEMO_VAE = (
    "pixart-demo.safetensors",
    "t5-demo.safetensors",
    "vae-demo.safetensors",
)
"""Files of the repository's own; nothing is to be downloaded."""
