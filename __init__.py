"""PixArt for ComfyUI: T5, PixArt models, prompts and sampling as ordinary nodes."""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"
"""What the editor loads."""


async def comfy_entrypoint() -> Any:
    """Return the extension; the host calls this once, when it loads the pack."""
    # Imported here, not above: without a host (tests, tools) this package must still import.
    from .nodes import PixArtExtension

    return PixArtExtension()
