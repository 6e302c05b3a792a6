"""The whole path over the API: nodes, pictures, progress, interrupts."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from PIL import Image

from demo.judge import judge
from demo.scenes import Scene
from devtools.client import Event, HostClient, Interrupted, Result
from devtools.server import HostServer

from .conftest import DEMO
from .graphs import text_to_image, with_stock_nodes
from .older_hosts import is_of_an_older_host

SCENES = (Scene("circle", "red", "blue"), Scene("square", "yellow", "black"))

COMPLAINT = re.compile(r"error|warn|missing|unexpected|traceback", re.IGNORECASE).search

SIGNATURES = {
    "PixArtModelLoader": (
        ["file", "variant", "weight_dtype", "kv_compression", "kv_factor", "kv_first_block"],
        ["MODEL"],
    ),
    "PixArtModelInfo": (["file"], ["STRING"]),
    "PixArtT5Loader": (["file", "precision", "device"], ["CLIP"]),
    "PixArtTextEncode": (["clip", "text", "cleaning", "model"], ["CONDITIONING", "STRING"]),
    "PixArtPromptBatch": (["clip", "texts", "cleaning", "model"], ["CONDITIONING", "INT"]),
    "PixArtStyle": (["prompt", "negative", "style"], ["STRING", "STRING"]),
    "PixArtNullConditioning": (["model", "positive"], ["CONDITIONING"]),
    "PixArtSaveConditioning": (["conditioning", "name"], ["STRING"]),
    "PixArtLoadConditioning": (["file", "model"], ["CONDITIONING", "STRING"]),
    "PixArtResolution": (
        ["width", "height", "batch_size", "sizing", "aspect", "swap", "table", "ratios", "model",
         "image"],
        ["LATENT", "INT", "INT"],
    ),
    "PixArtResolutionConditioning": (["conditioning", "width", "height"], ["CONDITIONING"]),
    "PixArtSampler": (
        ["model", "positive", "negative", "latent_image", "seed", "steps", "guidance", "solver",
         "denoise", "seeds"],
        ["LATENT"],
    ),
    "PixArtControlNetLoader": (["file"], ["CONTROL_NET"]),
    "PixArtHED": (["image", "file"], ["IMAGE"]),
    "PixArtLora": (["model", "file", "strength", "alpha"], ["MODEL", "STRING"]),
    "PixArtSolver": (["solver"], ["SAMPLER"]),
    "PixArtSchedule": (
        ["model", "solver", "steps", "denoise", "start_step", "end_step"],
        ["SIGMAS"],
    ),
    "PixArtLegacyCheckpointLoader": (["ckpt_name", "model"], ["MODEL"]),
    "PixArtLegacyCheckpointLoaderSimple": (["ckpt_name"], ["MODEL"]),
    "PixArtLegacyResolutionSelect": (["model", "ratio"], ["INT", "INT"]),
    "PixArtLegacyResolutionCond": (["cond", "width", "height"], ["CONDITIONING"]),
    "PixArtLegacyLoraLoader": (["model", "lora_name", "strength"], ["MODEL"]),
    "PixArtLegacyControlNetCond": (["cond", "latent"], ["CONDITIONING"]),
    "PixArtLegacyT5Loader": (
        ["t5v11_name", "t5v11_ver", "path_type", "device", "dtype"],
        ["CLIP"],
    ),
    "PixArtLegacyT5TextEncode": (["text", "T5"], ["CONDITIONING"]),
    "PixArtLegacyTextEncode": (["text", "T5"], ["CONDITIONING"]),
    "PixArtLegacyT5FromSD3": (["sd3_clip", "padding"], ["CLIP"]),
}  # fmt: skip


def pictures(client: HostClient, result: Result) -> list[Image.Image]:
    """Fetch what the graph saved."""
    return [Image.open(io.BytesIO(client.image(image))) for image in result.images()]


def test_nodes_are_listed_with_tooltips(client: HostClient) -> None:
    info = client.object_info()
    for node, (inputs, outputs) in SIGNATURES.items():
        given = info[node]["input"]
        described = {**given["required"], **given.get("optional", {})}
        assert list(described) == inputs
        assert info[node]["output"] == outputs
        assert info[node]["category"] == ("PixArt/old" if "Legacy" in node else "PixArt")
        assert all(options[1]["tooltip"] for options in described.values())
    assert {name for name in info if name.startswith("PixArt")} == SIGNATURES.keys()


def test_the_log_has_no_complaint(server: HostServer, client: HostClient) -> None:
    start = server.log_text().split("Starting server")[0]
    failed = [line for line in start.splitlines() if "IMPORT FAILED" in line]
    assert not [line for line in failed if not is_of_an_older_host(line)]
    assert not [line for line in start.splitlines() if "pixart" in line.lower() and COMPLAINT(line)]
    client.free()
    read = len(server.log_text())
    client.run(text_to_image(PixArtSampler={"steps": 1, "seed": 17}))
    said = server.log_text()[read:]
    assert "is alpha-256, by the file's tensors" in said
    assert not [line for line in said.splitlines() if COMPLAINT(line)]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.caption())
@pytest.mark.parametrize("nodes", ["ours", "stock"])
def test_the_picture_is_what_the_prompt_says(client: HostClient, scene: Scene, nodes: str) -> None:
    graph = text_to_image(positive={"text": scene.caption()}, PixArtSampler={"seed": 3})
    if nodes == "stock":
        graph = with_stock_nodes(graph)
    (picture,) = pictures(client, client.run(graph))
    assert picture.size == (256, 256)
    assert judge(picture).has_colours_of(scene)


def test_a_batch_and_another_shape(client: HostClient) -> None:
    graph = text_to_image(
        PixArtResolution={"width": 320, "height": 192, "batch_size": 2}, PixArtSampler={"steps": 2}
    )
    assert [picture.size for picture in pictures(client, client.run(graph))] == [(320, 192)] * 2


def test_the_same_seed_gives_the_same_picture(client: HostClient) -> None:
    drawn = []
    for seed in (7, 7, 8):
        # Or the host would answer from its cache.
        client.free()
        result = client.run(text_to_image(PixArtSampler={"steps": 2, "seed": seed}))
        assert any(e.kind == "executing" and e.data["node"] == "6" for e in result.events)
        drawn.append(pictures(client, result)[0].tobytes())
    first, again, other = drawn
    assert first == again
    assert first != other


def test_the_same_seed_gives_the_same_picture_after_a_restart(client: HostClient) -> None:
    graph = text_to_image(PixArtSampler={"steps": 2, "seed": 7, "solver": "SA-Solver"})
    (wanted,) = pictures(client, client.run(graph))
    with HostServer({folder: [path] for folder, path in DEMO.items()}) as again:
        other = HostClient(again.address)
        (found,) = pictures(other, other.run(graph))
    assert found.tobytes() == wanted.tobytes()


def test_progress_comes_step_by_step(client: HostClient) -> None:
    # The host tells at most ten steps a second; these take longer.
    size = {"width": 512, "height": 512, "batch_size": 2}
    graph = text_to_image(PixArtResolution=size, PixArtSampler={"steps": 5, "seed": 11})
    events = client.run(graph).events
    told = [e.data["value"] for e in events if e.kind == "progress" and e.data["node"] == "6"]
    assert told == [1, 2, 3, 4, 5]


def test_an_interrupt_stops_within_a_step_and_the_host_goes_on(client: HostClient) -> None:
    told: list[Event] = []

    def interrupt_at_the_second(event: Event) -> None:
        if event.kind in ("progress", "execution_interrupted"):
            told.append(event)
        if event.kind == "progress" and event.data["value"] == 2:
            client.interrupt()

    # The host tells at most ten steps a second; these take longer.
    size = {"width": 512, "height": 512, "batch_size": 2}
    graph = text_to_image(PixArtResolution=size, PixArtSampler={"steps": 100, "seed": 5})
    with pytest.raises(Interrupted):
        client.run(graph, interrupt_at_the_second)
    first, second, *more, end = told
    assert [first.data["value"], second.data["value"]] == [1, 2]
    # The third step was under way and may have ended before the interrupt came.
    assert [event.data["value"] for event in more] in ([], [3])
    assert end.seconds - second.seconds < 3 * (second.seconds - first.seconds) + 0.5
    assert pictures(client, client.run(text_to_image(PixArtSampler={"steps": 1, "seed": 5})))


def test_areas_may_end_in_the_middle_of_a_patch(client: HostClient) -> None:
    area = {
        "class_type": "ConditioningSetArea",
        "inputs": {
            **{"conditioning": ["3", 0], "width": 72, "height": 64, "x": 24, "y": 8},
            "strength": 1.0,
        },
    }
    both = {
        "class_type": "ConditioningCombine",
        "inputs": {"conditioning_1": ["4", 0], "conditioning_2": ["70", 0]},
    }
    small = {"width": 128, "height": 128}
    graph = text_to_image(PixArtResolution=small, PixArtSampler={"steps": 1})
    graph["6"]["inputs"]["positive"] = ["71", 0]
    graph |= {"70": area, "71": both}
    assert pictures(client, client.run(graph))[0].size == (128, 128)


def notice(result: Result) -> str:
    """What the prompt node says under itself."""
    (said,) = result.outputs["3"]["text"]
    return str(said)


def test_the_prompt_node_tells_its_tokens(client: HostClient) -> None:
    few: dict[str, Any] = {"steps": 1}
    # Not cleaned as the negative is, or the host would answer from its cache and say nothing.
    nothing = {"text": "", "cleaning": "off"}
    empty = client.run(text_to_image(positive=nothing, PixArtSampler=few))
    assert notice(empty) == "1 of 120 tokens"
    long = "red " * 1999 + "circle"
    cut = client.run(text_to_image(positive={"text": long}, PixArtSampler=few))
    assert notice(cut).startswith("120 of 120 tokens. Cut: red red")
    assert notice(cut).endswith("circle")
    assert pictures(client, cut)
