"""The denoiser's network."""

from .config import NetworkConfig
from .transformer import PixArtTransformer

__all__ = ["NetworkConfig", "PixArtTransformer"]
