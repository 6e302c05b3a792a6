"""What the habitats name beside the demo's files."""

from __future__ import annotations

import torch
from PIL import Image
from safetensors.torch import save_file

from devtools.client import HostClient
from devtools.server import HostServer
from pixart_core.network.hed import Hed

from .habitats import HABITATS, HED, PICTURE, SAVED


def furnish(server: HostServer, client: HostClient) -> None:
    """Write a picture, an edge detector and a saved prompt into a host's folders."""
    noise = Image.effect_noise((64, 64), 60).convert("RGB")
    noise.save(server.base / "input" / PICTURE)
    torch.manual_seed(0)
    hed = {key: value.half() for key, value in Hed().state_dict().items()}
    save_file(hed, server.base / "models" / "controlnet" / HED)
    saving = dict(HABITATS["PixArtSaveConditioning"])
    name = {"name": SAVED.rpartition("_")[0]}
    saving["x"] = {**saving["x"], "inputs": {**saving["x"]["inputs"], **name}}
    client.run(saving)
    assert (server.base / "output" / "prompts" / SAVED).is_file()
