"""A workflow of ComfyUI_ExtraModels in the editor: its nodes are replaced, values and all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from ..host.conftest import DEMO


def old_node(
    number: int, kind: str, inputs: Sequence[tuple[str, str, int]], outputs: Any, *values: Any
) -> dict[str, Any]:
    """A node as the editor saves it; inputs with type and link, outputs with type and links."""
    return {
        **{"id": number, "type": kind, "pos": [40 + 320 * number, 80], "size": [300, 200]},
        **{"flags": {}, "order": number, "mode": 0, "properties": {"Node name for S&R": kind}},
        "inputs": [{"name": name, "type": type_, "link": link} for name, type_, link in inputs],
        "outputs": [
            {"name": name, "type": type_, "links": links, "slot_index": slot}
            for slot, (name, type_, links) in enumerate(outputs)
        ],
        "widgets_values": list(values),
    }


def old_workflow() -> dict[str, Any]:
    """Model, T5, prompt and size of the old pack before the host's own sampler."""
    model, text = DEMO["diffusion_models"].name, DEMO["text_encoders"].name
    sampler = [("model", "MODEL", 1), ("positive", "CONDITIONING", 3)]
    sampler += [("negative", "CONDITIONING", 3), ("latent_image", "LATENT", 4)]
    settings = (7, "fixed", 2, 4.5, "dpmpp_2m", "sgm_uniform", 1.0)
    t5 = (text, "xxl", "file", "cpu", "default")
    size = [("width", "INT", 5), ("height", "INT", 6)]
    prompts = [("CONDITIONING", "CONDITIONING", [3, 7])]
    sides = [("width", "INT", [5]), ("height", "INT", [6])]
    nodes = [
        old_node(1, "PixArtCheckpointLoader", [], [("MODEL", "MODEL", [1])], model, "PixArt_XL_2"),
        old_node(2, "T5v11Loader", [], [("T5", "T5", [2])], *t5),
        old_node(3, "PixArtT5TextEncode", [("T5", "T5", 2)], prompts, "A red circle"),
        old_node(4, "PixArtResolutionSelect", [], sides, "PixArt_XL_2", "2.00"),
        old_node(5, "EmptyLatentImage", size, [("LATENT", "LATENT", [4])], 512, 512, 1),
        old_node(6, "KSampler", sampler, [("LATENT", "LATENT", [])], *settings),
    ]
    links = [
        [1, 1, 0, 6, 0, "MODEL"],
        [2, 2, 0, 3, 0, "T5"],
        [3, 3, 0, 6, 1, "CONDITIONING"],
        [7, 3, 0, 6, 2, "CONDITIONING"],
        [4, 5, 0, 6, 3, "LATENT"],
        [5, 4, 0, 5, 0, "INT"],
        [6, 4, 1, 5, 1, "INT"],
    ]
    nodes[5]["inputs"][2]["link"] = 7
    about = {"last_node_id": 6, "last_link_id": 7, "groups": [], "config": {}, "extra": {}}
    return {**about, "nodes": nodes, "links": links, "version": 0.4}


def test_replacing_takes_values_and_connections_along(editor: Page, tmp_path: Path) -> None:
    editor.evaluate("workflow => window.app.loadGraphData(workflow)", old_workflow())
    editor.get_by_role("button", name="View details").click(timeout=20_000)
    everything = editor.get_by_role("button", name="Replace All")
    everything.wait_for(timeout=20_000)
    editor.screenshot(path=tmp_path / "missing.png")
    everything.click()
    editor.wait_for_function(
        "window.app.graph._nodes.filter(n => n.type.startsWith('PixArtLegacy')).length === 4"
    )
    editor.screenshot(path=tmp_path / "replaced.png")
    sent = editor.evaluate("window.app.graphToPrompt().then(both => both.output)")
    kinds = {number: node["class_type"] for number, node in sent.items()}
    assert kinds["1"] == "PixArtLegacyCheckpointLoader"
    assert kinds["3"] == "PixArtLegacyTextEncode"
    assert sent["1"]["inputs"] == {
        "ckpt_name": DEMO["diffusion_models"].name,
        "model": "PixArt_XL_2",
    }
    assert sent["2"]["inputs"]["t5v11_name"] == DEMO["text_encoders"].name
    assert sent["2"]["inputs"]["dtype"] == "default"
    assert sent["3"]["inputs"] == {"text": "A red circle", "T5": ["2", 0]}
    assert sent["4"]["inputs"] == {"model": "PixArt_XL_2", "ratio": "2.00"}
    assert sent["5"]["inputs"]["width"] == ["4", 0]
    assert sent["5"]["inputs"]["height"] == ["4", 1]
    assert sent["6"]["inputs"]["model"] == ["1", 0]
    assert sent["6"]["inputs"]["positive"] == sent["6"]["inputs"]["negative"] == ["3", 0]
