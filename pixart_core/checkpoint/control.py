"""ControlNet files: the official one with the model inside, an extracted one, diffusers'."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..errors import CheckpointError
from ..network.config import HEAD_SIZE, NetworkConfig
from ..network.control import PixArtControl
from .completeness import check_complete
from .foreign import some
from .layouts import to_original
from .reading import OpenedFiles, open_files, shapes_of
from .source import FolderKind

CONTROLNET = FolderKind("a PixArt ControlNet", ("diffusion_pytorch_model",), "controlnet")

_OFFICIAL = re.compile(
    r"(?:.*\.)?controlnet\.(\d{1,2}\.(?:copied_block|before_proj|after_proj)\..+)"
)
_RESEARCH = re.compile(r"(?:.*\.)?controlnet_blocks\.(\d{1,2})\.(.+)")
_COPIED = "transformer_block."


@dataclass(frozen=True)
class OpenedControl:
    """A ControlNet's tensors in original names, and the shape of the network."""

    files: OpenedFiles
    tensors: dict[str, Tensor]
    network: NetworkConfig


def open_control(path: Path) -> OpenedControl:
    """Open a ControlNet file or folder; a model inside it is left out.

    Raises CheckpointError where it cannot be read, is none, or is not whole.
    """
    files = open_files(path, CONTROLNET)
    tensors = _official(files.tensors) or _research(files.tensors)
    depth = 1 + max((int(key.split(".")[1]) for key in tensors), default=-1)
    table = tensors.get("controlnet.0.after_proj.weight")
    mlp = tensors.get("controlnet.0.copied_block.mlp.fc1.weight")
    if table is None or mlp is None or table.ndim != 2 or table.shape[0] % HEAD_SIZE:
        raise CheckpointError(
            f"{files.source.name} is no PixArt ControlNet",
            found=f"tensors such as {some(list(files.tensors), 2)}"
            if files.tensors
            else "no tensors",
            expected="controlnet.0.copied_block… or controlnet_blocks.0.transformer_block…",
            advice="Choose a ControlNet that was trained for PixArt.",
        )
    network = NetworkConfig(
        depth=depth,
        hidden_size=table.shape[0],
        mlp_size=mlp.shape[0],
        qk_norm="controlnet.0.copied_block.attn.q_norm.weight" in tensors,
        # The rest is the model's own.
        in_channels=0,
        out_channels=0,
        patch_size=0,
        caption_channels=0,
        position_range=0,
        size_conditions=False,
        null_caption_tokens=0,
    )
    wanted = {
        key: tuple(value.shape)
        for key, value in PixArtControl(network, device="meta").state_dict().items()
    }
    check_complete(shapes_of(tensors), wanted, "ControlNet")
    return OpenedControl(files, tensors, network)


def _official(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = ((_OFFICIAL.fullmatch(key), value) for key, value in tensors.items())
    return {f"controlnet.{match[1]}": value for match, value in found if match}


def _research(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename diffusers' blocks to the original ones, which stack their attention."""
    blocks: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for key, value in tensors.items():
        match = _RESEARCH.fullmatch(key)
        if match and match[2].startswith(_COPIED):
            name = match[2].removeprefix(_COPIED)
            blocks[f"transformer_blocks.{match[1]}.{name}"] = value
        elif match:
            rest[f"controlnet.{match[1]}.{match[2]}"] = value
    for key, value in to_original(blocks).items():
        _, number, name = key.split(".", 2)
        rest[f"controlnet.{number}.copied_block.{name}"] = value
    return rest
