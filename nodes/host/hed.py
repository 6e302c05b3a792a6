"""Edges of a picture, on the host's device."""

from __future__ import annotations

from pathlib import Path

import comfy.model_management
import torch
from torch import Tensor

from ...pixart_core.checkpoint.completeness import check_complete, check_finite
from ...pixart_core.checkpoint.reading import read_tensors, shapes_of
from ...pixart_core.errors import SamplingError
from ...pixart_core.network.hed import Hed

_SMALLEST_SIDE = 16
"""Halved four times it is one pixel."""


def hed_edges(image: Tensor, path: Path) -> Tensor:
    """Return the edges of an IMAGE (B, H, W, 3), bright on black, as an IMAGE of the same shape.

    Raises CheckpointError for a file that is not the annotator's, SamplingError for a picture
    that is too small.
    """
    if min(image.shape[1:3]) < _SMALLEST_SIDE or not len(image):
        raise SamplingError(
            "The edges cannot be found",
            found=f"a picture of shape {tuple(image.shape)}",
            expected=f"{_SMALLEST_SIDE} pixels or more a side",
            advice="Scale the picture up first.",
        )
    management = comfy.model_management
    device = management.get_torch_device()
    with torch.device("meta"):
        model = Hed()
    tensors = read_tensors(path)
    check_complete(shapes_of(tensors), shapes_of(model.state_dict()), "HED annotator")
    for key, tensor in tensors.items():
        check_finite(key, tensor)
    model.load_state_dict({k: v.float() for k, v in tensors.items()}, assign=True)
    model = model.to(device).eval()
    with torch.no_grad():
        rows = [
            model(picture[None, :, :, :3].movedim(-1, 1).to(device, torch.float32))
            for picture in image
        ]
    edges = torch.cat(rows).movedim(1, -1).clamp(0, 1)  # B H W 1
    return edges.repeat(1, 1, 1, 3).to(management.intermediate_device())
