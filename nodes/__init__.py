"""The pack's graph nodes, in the order of the menu."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .adapters import PixArtControlNetLoader, PixArtLora
from .host.files import register_folders
from .host.routes import register_routes
from .legacy import LEGACY, register_replacements
from .load import PixArtModelLoader, PixArtT5Loader
from .resolution import PixArtResolution, PixArtResolutionConditioning
from .sampling import PixArtSampler, PixArtSchedule, PixArtSolver
from .saved import PixArtLoadConditioning, PixArtSaveConditioning
from .text import PixArtNullConditioning, PixArtPromptBatch, PixArtStyle, PixArtTextEncode
from .tools import PixArtHED, PixArtModelInfo

NODES: list[type[io.ComfyNode]] = [
    PixArtModelLoader,
    PixArtT5Loader,
    PixArtTextEncode,
    PixArtPromptBatch,
    PixArtStyle,
    PixArtNullConditioning,
    PixArtSaveConditioning,
    PixArtLoadConditioning,
    PixArtResolution,
    PixArtResolutionConditioning,
    PixArtSampler,
    PixArtSolver,
    PixArtSchedule,
    PixArtLora,
    PixArtControlNetLoader,
    PixArtHED,
    PixArtModelInfo,
    *LEGACY.values(),
]


class PixArtExtension(ComfyExtension):
    """What the host is given."""

    async def on_load(self) -> None:
        """Make the host look into the folder of older packs, and know their nodes.

        Also answer what the editor asks.
        """
        register_folders()
        register_routes()
        await register_replacements()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the node classes."""
        return NODES
