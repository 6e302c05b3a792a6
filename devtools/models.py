"""The demo model's files and the host's folders that they belong into."""

from __future__ import annotations

from pathlib import Path

from devtools.environment import ROOT

DEMO_FOLDER = ROOT / "demo" / "models"

CONTROLNET = "control-demo.safetensors"
"""The ControlNet that belongs to the demo model."""

_DEMO_FILES = {
    "diffusion_models": "pixart-demo.safetensors",
    "text_encoders": "t5-demo.safetensors",
    "vae": "vae-demo.safetensors",
}


def demo_models(folder: Path = DEMO_FOLDER) -> dict[str, list[Path]]:
    """Return the three files of the demo model, as HostServer takes them."""
    return {kind: [folder / name] for kind, name in _DEMO_FILES.items()}
