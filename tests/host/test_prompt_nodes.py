"""The nodes for prompts over the API: batches, styles, files, the host's cache."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from demo.judge import judge
from demo.scenes import Scene
from devtools.client import ExecutionFailed, HostClient, Rejected, Result
from devtools.server import HostServer
from pixart_core.text.t5 import T5Shape, tensor_shapes

from .conftest import DEMO
from .graphs import Graph, text_to_image
from .older_hosts import need_int8

SCENES = (
    Scene("circle", "red", "blue"),
    Scene("square", "yellow", "black"),
    Scene("triangle", "green", "white"),
)


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """One node of a graph."""
    return {"class_type": class_type, "inputs": inputs}


def picture_bytes(client: HostClient, result: Result) -> list[bytes]:
    """Return the pixels of the pictures that a graph saved."""
    return [Image.open(io.BytesIO(client.image(image))).tobytes() for image in result.images()]


def executed(result: Result) -> set[str]:
    """Return the ids of the nodes that really ran."""
    return {
        str(event.data["node"])
        for event in result.events
        if event.kind == "executing" and event.data.get("node")
    }


def saving_prompt(text: str, name: str, **changes: dict[str, Any]) -> Graph:
    """A graph that saves a prompt, and nothing more."""
    whole = text_to_image(positive={"text": text}, **changes)
    return {
        **{key: whole[key] for key in ("1", "2", "3")},
        "20": node("PixArtSaveConditioning", conditioning=["3", 0], name=name),
    }


def from_files(graph: Graph, positive: str, negative: str) -> Graph:
    """A graph with its prompts from files, and without T5."""
    kept = {key: value for key, value in graph.items() if key not in ("2", "3", "4")}
    sampler = {**graph["6"]["inputs"], "positive": ["21", 0], "negative": ["22", 0]}
    return {
        **kept,
        "6": node("PixArtSampler", **sampler),
        "21": node("PixArtLoadConditioning", file=positive, model=["1", 0]),
        "22": node("PixArtLoadConditioning", file=negative),
    }


def saved_name(result: Result, node_id: str = "20") -> str:
    """Return the file that a graph saved a prompt in."""
    (said,) = result.outputs[node_id]["text"]
    return str(said).removeprefix("Saved as ")


@pytest.mark.parametrize("as_list", [False, True])
def test_each_picture_of_a_batch_shows_its_prompt(client: HostClient, as_list: bool) -> None:
    graph = text_to_image(PixArtResolution={"batch_size": ["30", 1]}, PixArtSampler={"seed": 3})
    texts = [scene.caption() for scene in SCENES]
    graph["30"] = node(
        "PixArtPromptBatch", clip=["2", 0], texts="\n\n".join(texts), cleaning="auto",
        model=["1", 0],
    )  # fmt: skip
    if as_list:
        graph["30"]["inputs"]["texts"] = ["31", 0]
        graph["31"] = node("CreateList", **{f"inputs.input{i}": t for i, t in enumerate(texts)})
    graph["6"]["inputs"]["positive"] = ["30", 0]
    result = client.run(graph)
    drawn = [Image.open(io.BytesIO(client.image(image))) for image in result.images()]
    assert len(drawn) == len(SCENES)
    for picture, scene in zip(drawn, SCENES, strict=True):
        assert judge(picture).has_colours_of(scene)
    assert result.outputs["30"]["text"][0].startswith("1: 10 of 120 tokens\n2: ")


def test_a_saved_prompt_makes_the_same_picture_without_t5(
    server: HostServer, client: HostClient
) -> None:
    graph = text_to_image(positive={"text": "a white star on a red background"},
                          PixArtSampler={"steps": 2, "seed": 5})  # fmt: skip
    client.free()
    wanted = picture_bytes(client, client.run(graph))
    names = [
        saved_name(client.run(saving_prompt(text, "stars/white")))
        for text in ("a white star on a red background", "")
    ]
    assert names == ["stars/white_00001.safetensors", "stars/white_00002.safetensors"]
    client.free()
    read = len(server.log_text())
    result = client.run(from_files(graph, *names))
    assert picture_bytes(client, result) == wanted
    assert "T5" not in server.log_text()[read:]
    (notice,) = result.outputs["21"]["text"]
    assert notice == (
        "a white star on a red background\n10 tokens, for alpha, from t5-demo.safetensors"
    )


def test_a_prompt_of_another_family_width_or_none_is_refused(
    server: HostServer, client: HostClient
) -> None:
    name = saved_name(client.run(saving_prompt("a red circle", "refused")))
    folder = server.base / "output" / "prompts"
    good = folder / name
    tensors = load_file(good)
    metadata = {"format": "pixart-prompt-1", "tokens": str(int(tensors["mask"].sum()))}
    save_file(tensors, folder / "sigma.safetensors", {**metadata, "family": "sigma"})
    wide = {**tensors, "embedding": tensors["embedding"].repeat(1, 1, 2)}
    save_file(wide, folder / "wide.safetensors", metadata)
    (folder / "damaged.safetensors").write_bytes(good.read_bytes()[:300])
    found = {
        "sigma": "does not fit this model: found a prompt encoded for PixArt sigma, expected",
        "wide": "does not fit this model: found embeddings 256 wide, expected 128 wide",
        "damaged": "damaged.safetensors cannot be used as a prompt: found a damaged",
    }
    for bad, message in found.items():
        graph = from_files(text_to_image(PixArtSampler={"steps": 1}), f"{bad}.safetensors", name)
        with pytest.raises(ExecutionFailed) as failed:
            client.run(graph)
        assert message in failed.value.message
        del graph["21"]["inputs"]["model"]
        with pytest.raises(ExecutionFailed):
            client.run(graph)
    with pytest.raises(Rejected, match="Value not in list: file"):
        client.run(from_files(text_to_image(), "../secret.safetensors", name))


@pytest.mark.parametrize(
    "name", ["", "..", "../out", "a/../../out", "/tmp/out", "a\\..\\..\\out", "a:b", "x" * 300,
             "line\nbreak", "a//b"]
)  # fmt: skip
def test_a_name_cannot_leave_the_folder(server: HostServer, client: HostClient, name: str) -> None:
    before = set(server.base.rglob("*.safetensors"))
    with pytest.raises(ExecutionFailed, match="The prompt was not saved: found the name"):
        client.run(saving_prompt("a red circle", name))
    assert set(server.base.rglob("*.safetensors")) == before
    assert not Path("/tmp/out_00001.safetensors").exists()


def test_what_a_file_cannot_keep_is_refused(client: HostClient) -> None:
    graph = saving_prompt("a red circle", "area")
    graph["23"] = node("ConditioningSetAreaPercentage", conditioning=["3", 0], width=0.5,
                       height=0.5, x=0.0, y=0.0, strength=1.0)  # fmt: skip
    graph["20"]["inputs"]["conditioning"] = ["23", 0]
    with pytest.raises(
        ExecutionFailed, match="found an entry with area, set_area_to_bounds, strength"
    ):
        client.run(graph)


def test_a_changed_seed_encodes_nothing_and_equal_prompts_once(client: HostClient) -> None:
    client.free()
    graph = text_to_image(positive={"text": "red"}, negative={"text": "red"},
                          PixArtSampler={"steps": 1, "seed": 1})  # fmt: skip
    assert len(executed(client.run(graph)) & {"3", "4"}) == 1
    graph["6"]["inputs"]["seed"] = 2
    assert executed(client.run(graph)) & {"1", "2", "3", "4", "6"} == {"6"}


@pytest.fixture
def table(server: HostServer) -> Iterator[Path]:
    """Where the user's styles lie."""
    path = server.base / "user" / "styles.csv"
    yield path
    path.unlink(missing_ok=True)


def style_graph(style: str) -> Graph:
    """A graph that puts a prompt in a style and encodes it."""
    graph = text_to_image(PixArtSampler={"steps": 1})
    graph["40"] = node("PixArtStyle", prompt="a cat", negative="dull", style=style)
    graph["3"]["inputs"]["text"] = ["40", 0]
    graph["4"]["inputs"]["text"] = ["40", 1]
    graph["41"] = node("PreviewAny", source=["40", 1])
    return graph


def test_styles_of_ones_own_show_up_without_a_restart(client: HostClient, table: Path) -> None:
    result = client.run(style_graph("Manga"))
    assert result.outputs["40"]["text"][0].startswith("manga style a cat . vibrant")
    assert result.outputs["41"]["text"][0].endswith("Western comic styledull")
    with pytest.raises(Rejected, match="Value not in list: style: 'Mine'"):
        client.run(style_graph("Mine"))
    head = "name,prompt,negative_prompt\n"
    table.write_text(f'{head}Mine,"{{prompt}}, mine",grey\nBad,a,b,c,d\n', encoding="utf-8")
    options = client.object_info("PixArtStyle")["PixArtStyle"]["input"]["required"]["style"]
    assert "Mine" in str(options)
    said = client.run(style_graph("Mine")).outputs["40"]["text"]
    assert said[0] == "a cat, mine"
    assert said[1].startswith("styles.csv, line 3: it has more fields")
    table.write_text(f"{head}Mine,other {{prompt}},grey\n", encoding="utf-8")
    assert client.run(style_graph("Mine")).outputs["40"]["text"][0] == "other a cat"


def test_the_words_that_are_cut_are_named(client: HostClient) -> None:
    words = [f"word{i}" for i in range(98)] + ["猫🙂", "zoë"]
    graph = text_to_image(positive={"text": "A Cat, " + " ".join(words), "cleaning": "lowercase"},
                          PixArtSampler={"steps": 1})  # fmt: skip
    graph["41"] = node("PreviewAny", source=["3", 1])
    result = client.run(graph)
    (notice,) = result.outputs["3"]["text"]
    assert notice.startswith("120 of 120 tokens. Cut: ")
    assert notice.endswith("word97 猫🙂 zoë")
    assert notice.split(". Cut: ")[1].split()[0] in words
    assert result.outputs["41"]["text"][0].startswith("a cat, word0 word1")


def test_t5_takes_every_precision_over_the_api(client: HostClient) -> None:
    for precision in ("int8 (offloadable)", "8-bit (bitsandbytes)", "4-bit (bitsandbytes)", "fp8"):
        graph = text_to_image(
            PixArtT5Loader={"precision": precision, "device": "cpu"},
            positive={"text": SCENES[0].caption()}, PixArtSampler={"seed": 3},
        )  # fmt: skip
        (image,) = client.run(graph).images()
        picture = Image.open(io.BytesIO(client.image(image)))
        assert judge(picture).has_colours_of(SCENES[0]), precision


def test_t5_is_listed_from_every_folder(server: HostServer, client: HostClient) -> None:
    """Beside the host's own folder: ``t5`` of older packs, and those of extra_model_paths.yaml."""
    (server.base / "models" / "t5" / "old").mkdir(parents=True)
    (server.base / "models" / "t5" / "old" / "t5.safetensors").symlink_to(DEMO["text_encoders"])
    (server.base / "models" / "t5" / "notes.txt").write_text("not a model", encoding="utf-8")
    names = str(client.object_info("PixArtT5Loader")["PixArtT5Loader"]["input"]["required"]["file"])
    for name in ("old/t5.safetensors", "T5-Folder", "T5-Folder/model.safetensors"):
        assert repr(name) in names
    assert "notes.txt" not in names
    for name in ("T5-Folder", "old/t5.safetensors"):
        graph = saving_prompt("a red circle", "listed", PixArtT5Loader={"file": name})
        assert saved_name(client.run(graph)).startswith("listed_")


@pytest.fixture(scope="module")
def large_t5(server: HostServer) -> Iterator[str]:
    """The name of a T5 of 350 MB in fp32 and little table, whose going can be told from noise."""
    path = server.base / "models" / "text_encoders" / "large.safetensors"
    shape = T5Shape(layers=24, width=256, heads=4, head_size=64, mlp_size=4096)
    save_file({k: 0.02 * torch.randn(s) for k, s in tensor_shapes(shape).items()}, path)
    yield path.name
    path.unlink()


@pytest.mark.parametrize(
    ("precision", "megabytes"),
    [
        ("fp32", 300),
        ("int8 (offloadable)", 75),
        ("8-bit (bitsandbytes)", 75),
        ("4-bit (bitsandbytes)", 45),
    ],
)
def test_what_the_host_frees_is_really_free(
    server: HostServer, client: HostClient, large_t5: str, precision: str, megabytes: int
) -> None:
    need_int8(precision)

    def freed() -> float:
        client.free()
        # The host frees before its next run.
        client.run(saving_prompt("a red circle", "small"))
        return server.anonymous_bytes() / 2**20

    changes = {"PixArtT5Loader": {"file": large_t5, "precision": precision}}
    for _ in range(3):
        idle = freed()
        result = client.run(saving_prompt("a red circle", "freed", **changes))
        loaded = server.anonymous_bytes() / 2**20
    # The first time libraries are imported, which stay. What the process kept of earlier runs is
    # used again, so that loading may show as less than it takes.
    assert loaded - idle >= 0.6 * megabytes
    assert freed() - idle <= megabytes / 2
    bar = [e for e in result.events if e.kind == "progress" and e.data["node"] == "2"]
    assert bar or "bits" in precision, "a bar while loading"
