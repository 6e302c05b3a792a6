"""A preview each step, in every method of the host, for both latent formats."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from devtools.client import HostClient, Result

from .graphs import text_to_image

# The host tells at most ten steps a second; these take longer.
SLOW = {"width": 512, "height": 512, "batch_size": 1}
FILES = {"alpha": "pixart-demo.safetensors", "sigma": "sigma-demo.safetensors"}


def drawn(client: HostClient, method: str, family: str, solver: str = "auto") -> Result:
    """Draw with a preview method, not from the host's cache."""
    client.free(unload_models=False)
    graph = text_to_image(
        PixArtModelLoader={"file": FILES[family]},
        PixArtResolution=SLOW,
        PixArtSampler={"steps": 4, "seed": 31, "solver": solver},
    )
    return client.run(graph, extra_data={"preview_method": method})


def previews(result: Result) -> list[np.ndarray]:
    """The previews of a run, (H, W, 3) each."""
    return [
        np.asarray(Image.open(io.BytesIO(event.data["image"])).convert("RGB"), np.float32)
        for event in result.events
        if event.kind == "preview"
    ]


@pytest.mark.parametrize("family", ["alpha", "sigma"])
@pytest.mark.parametrize("method", ["latent2rgb", "taesd"])
def test_every_step_is_shown(client: HostClient, method: str, family: str) -> None:
    shown = previews(drawn(client, method, family))
    assert len(shown) == 4
    assert {picture.shape[0] for picture in shown} == {512}
    assert all(picture.std() > 1 for picture in shown)
    if method == "taesd" and family == "alpha":
        last = np.median(shown[-1][:32].reshape(-1, 3), axis=0)
        assert last[2] > last[0] + 80  # blue above the circle


def test_no_previews_where_none_are_wanted(client: HostClient) -> None:
    assert previews(drawn(client, "none", "alpha")) == []


@pytest.mark.parametrize("solver", ["SA-Solver", "UniPC", "Euler", "LCM"])
def test_the_step_count_is_the_true_one(client: HostClient, solver: str) -> None:
    events = drawn(client, "latent2rgb", "alpha", solver).events
    told = [
        (event.data["value"], event.data["max"])
        for event in events
        if event.kind == "progress" and event.data["node"] == "6"
    ]
    assert told == [(step, 4) for step in (1, 2, 3, 4)]
