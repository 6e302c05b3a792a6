"""The pack's graph nodes, in the order of the menu."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .load import PixArtModelLoader, PixArtT5Loader
from .resolution import PixArtResolution
from .sampling import PixArtSampler
from .text import PixArtTextEncode
from .tools import PixArtModelInfo

NODES: list[type[io.ComfyNode]] = [
    PixArtModelLoader,
    PixArtT5Loader,
    PixArtTextEncode,
    PixArtResolution,
    PixArtSampler,
    PixArtModelInfo,
]


class PixArtExtension(ComfyExtension):
    """What the host is given."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the node classes."""
        return NODES
