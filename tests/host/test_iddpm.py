"""IDDPM, which reads the prompt's own variance, with guiders of the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from devtools.client import ExecutionFailed, HostClient

from .graphs import Graph, node, text_to_image
from .test_graphs import custom, drawn


def iddpm_with(guider: dict[str, Any], **nodes: dict[str, Any]) -> Graph:
    """A custom sampler with IDDPM and a guider of the host."""
    settings = {"steps": 4, "seed": 6}
    small = {"width": 128, "height": 128, "batch_size": 1}
    graph = text_to_image(PixArtSampler=settings, PixArtResolution=small)
    return custom(graph, "IDDPM", {"41": guider, **nodes})


def test_iddpm_knows_the_prompt_among_three(client: HostClient) -> None:
    """The host's guider for two prompts puts the negative first."""
    links = {"model": ["1", 0], "cond1": ["3", 0], "cond2": ["3", 0], "negative": ["4", 0]}
    both = node("DualCFGGuider", **links, cfg_conds=4.5, cfg_cond2_negative=4.5, style="regular")
    plain = {"model": ["1", 0], "positive": ["3", 0], "negative": ["4", 0], "cfg": 4.5}
    wanted = drawn(client, iddpm_with(node("CFGGuider", **plain)))
    assert np.abs(drawn(client, iddpm_with(both)) - wanted).mean() < 1


def test_iddpm_needs_the_prompt_at_every_step(client: HostClient) -> None:
    half = node("ConditioningSetTimestepRange", conditioning=["3", 0], start=0.0, end=0.5)
    links = {"model": ["1", 0], "positive": ["46", 0], "negative": ["4", 0]}
    graph = iddpm_with(node("CFGGuider", **links, cfg=4.5), **{"46": half})
    with pytest.raises(ExecutionFailed, match="no variance beside the noise"):
        client.run(graph)
