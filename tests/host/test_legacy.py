"""Workflows of ComfyUI_ExtraModels make the pictures that the same graphs of our nodes make."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import requests
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from devtools.client import ExecutionFailed, HostClient, Rejected
from pixart_core.checkpoint.layouts import to_diffusers
from pixart_core.legacy import OLD_RATIOS, OLD_TABLES, old_size

from .conftest import DEMO
from .graphs import STOCK_SAMPLER, Graph, node, text_to_image

EXTRA_MODELS = {
    *("PixArtCheckpointLoader", "PixArtCheckpointLoaderSimple", "PixArtResolutionSelect"),
    *("PixArtResolutionCond", "PixArtLoraLoader", "PixArtControlNetCond", "PixArtDPMSampler"),
    *("PixArtT5TextEncode", "PixArtT5FromSD3CLIP", "T5v11Loader", "T5TextEncode"),
    *("EXMCLIPLoader", "ExtraVAELoader", "OverrideCLIPDevice", "OverrideVAEDevice"),
}
"""Ids of that pack's nodes, as its versions had them."""

STEPS = 2


def old_graph(**model: str) -> Graph:
    """A graph of old nodes, as scripts send it: without titles."""
    loader = "PixArtCheckpointLoader" if model else "PixArtCheckpointLoaderSimple"
    sampler = {**STOCK_SAMPLER, "steps": STEPS, "seed": 5}
    return {
        "1": node(loader, ckpt_name=DEMO["diffusion_models"].name, **model),
        "2": node(
            "T5v11Loader",
            **{"t5v11_name": DEMO["text_encoders"].name, "t5v11_ver": "xxl"},
            **{"path_type": "file", "device": "cpu", "dtype": "default"},
        ),
        "3": node("PixArtT5TextEncode", text=" A red Circle on a blue background", T5=["2", 0]),
        "4": node("T5TextEncode", text="", T5=["2", 0]),
        "41": node("PixArtResolutionCond", cond=["4", 0], width=128, height=128),
        "5": node("EmptyLatentImage", width=128, height=128, batch_size=1),
        "6": node(
            "KSampler",
            **{"model": ["1", 0], "positive": ["3", 0], "negative": ["41", 0]},
            **{"latent_image": ["5", 0], **sampler},
        ),
        "7": node("VAELoader", vae_name=DEMO["vae"].name),
        "8": node("VAEDecode", samples=["6", 0], vae=["7", 0]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="old"),
    }


def new_graph() -> Graph:
    """The same of our nodes."""
    graph = text_to_image(
        positive={"text": "a red circle on a blue background"},
        PixArtResolution={"width": 128, "height": 128},
    )
    links = {n: graph["6"]["inputs"][n] for n in ("model", "positive", "negative", "latent_image")}
    graph["6"] = node("KSampler", **links, **{**STOCK_SAMPLER, "steps": STEPS, "seed": 5})
    return graph


def pixels(client: HostClient, graph: Graph) -> np.ndarray:
    (picture,) = client.run(graph).images()
    return np.asarray(Image.open(io.BytesIO(client.image(picture))), dtype=np.float32)


@pytest.mark.parametrize("model", [{}, {"model": "PixArt_XL_2"}, {"model": "PixArtMS_XL_2"}])
def test_an_old_graph_makes_the_same_picture(client: HostClient, model: dict[str, str]) -> None:
    """Also where the old kind of model is not what the file is."""
    wanted = pixels(client, new_graph())
    assert np.abs(pixels(client, old_graph(**model)) - wanted).max() <= 1
    assert wanted.std() > 1


@pytest.mark.parametrize(
    ("old", "variant"),
    [
        ("PixArt_XL_2", "alpha-512"),
        ("PixArtMS_Sigma_XL_2", "sigma-1024"),
        ("PixArtMS_Sigma_XL_2_2K", "sigma-2k"),
        # It has size conditions, which the file has not.
        ("PixArtMS_XL_2", "sigma-1024"),
        ("auto", "sigma-1024"),
    ],
)
def test_the_old_kind_counts_where_the_file_does_not_tell(
    pack: ModuleType, tmp_path: Path, old: str, variant: str
) -> None:
    from pixart_pack.nodes.host.legacy import load_old_model

    path = tmp_path / "some.safetensors"
    own = {k: v for k, v in load_file(DEMO["diffusion_models"]).items() if "y_embedding" not in k}
    without_grid = {key: value for key, value in own.items() if key != "pos_embed"}
    save_file({k: v.contiguous() for k, v in to_diffusers(without_grid).items()}, path)
    assert load_old_model(path, old).patcher.model.variant.name == variant


def test_an_old_lora_node(client: HostClient) -> None:
    plain, wanted = old_graph(), new_graph()
    lora = {"lora_name": "random.safetensors", "strength": 0.5}
    plain["11"] = node("PixArtLoraLoader", model=["1", 0], **lora)
    plain["6"]["inputs"]["model"] = ["11", 0]
    given = wanted["6"]["inputs"]["model"]
    wanted["11"] = node(
        "PixArtLora", model=given, file="random.safetensors", strength=0.5, alpha=0.0
    )
    wanted["6"]["inputs"]["model"] = ["11", 0]
    assert np.abs(pixels(client, plain) - pixels(client, wanted)).max() <= 1
    assert np.abs(pixels(client, wanted) - pixels(client, new_graph())).mean() > 0.5


def test_an_old_folder_of_t5_on_a_card_that_is_not_here(client: HostClient) -> None:
    """That pack listed the files and then read all of the folder."""
    graph = old_graph()
    values = {"t5v11_name": "T5-Folder/model.safetensors", "path_type": "folder"}
    graph["2"]["inputs"] |= {**values, "device": "cuda:7", "dtype": "FP32"}
    assert np.abs(pixels(client, graph) - pixels(client, new_graph())).max() <= 1


@pytest.fixture(scope="session")
def with_control(controlnets: list[Path]) -> Path:
    """A file in the official layout, model and ControlNet in one, listed by the server."""
    return next(path for path in controlnets if path.name == "with-model.pth")


def controlled(client: HostClient, hint: str, with_control: Path, old: bool) -> Graph:
    """A graph with a ControlNet for prompt and negative, of old or of new nodes."""
    graph = old_graph(model="ControlPixArtHalf") if old else new_graph()
    graph["20"] = node("LoadImage", image=hint)
    sampler = graph["6"]["inputs"]
    if old:
        graph["1"]["inputs"]["ckpt_name"] = with_control.name
        graph["21"] = node("VAEEncode", pixels=["20", 0], vae=["7", 0])
        for number, name in (("22", "positive"), ("23", "negative")):
            graph[number] = node("PixArtControlNetCond", cond=sampler[name], latent=["21", 0])
            sampler[name] = [number, 0]
        return graph
    vae = next(i for i, n in graph.items() if n["class_type"] == "VAELoader")
    graph["21"] = node("PixArtControlNetLoader", file=with_control.name)
    graph["22"] = node(
        "ControlNetApplyAdvanced",
        **{"positive": sampler["positive"], "negative": sampler["negative"]},
        **{"control_net": ["21", 0], "image": ["20", 0], "vae": [vae, 0]},
        **{"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0},
    )
    sampler |= {"positive": ["22", 0], "negative": ["22", 1]}
    return graph


@pytest.fixture
def hint(client: HostClient) -> str:
    """A picture of 128 px that the server has."""
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[40:44, 30:90] = picture[40:90, 30:34] = 255
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    content.seek(0)
    answer = requests.post(
        f"http://{client.address}/upload/image",
        files={"image": ("old-hint.png", content)},
        data={"overwrite": "true"},
        timeout=30,
    )
    name: str = answer.json()["name"]
    return name


def test_an_old_controlnet(client: HostClient, hint: str, with_control: Path) -> None:
    old = pixels(client, controlled(client, hint, with_control, old=True))
    new = pixels(client, controlled(client, hint, with_control, old=False))
    assert np.abs(old - new).max() <= 1
    assert np.abs(new - pixels(client, new_graph())).mean() > 0.5


def test_an_old_hint_without_a_controlnet_is_a_sentence(client: HostClient, hint: str) -> None:
    graph = controlled(client, hint, DEMO["diffusion_models"], old=True)
    graph["1"]["inputs"]["model"] = "PixArt_XL_2"
    with pytest.raises(ExecutionFailed, match="a model without a ControlNet in its file"):
        client.run(graph)
    # Or the host would answer from its cache.
    client.free(unload_models=False)
    assert pixels(client, new_graph()).std() > 1


@pytest.mark.parametrize("missing", ["T5", "text"])
def test_a_missing_input_is_told_by_the_host(client: HostClient, missing: str) -> None:
    """Its own replacement would fail with HTTP 500."""
    graph = old_graph()
    graph["3"] |= {"_meta": None}
    del graph["3"]["inputs"][missing]
    with pytest.raises(Rejected, match="Required input is missing"):
        client.run(graph)


def test_brackets_were_letters_to_the_old_prompt_node(client: HostClient) -> None:
    graph, wanted = old_graph(), new_graph()
    graph["3"]["inputs"]["text"] = "a (red:1.5) circle"
    wanted["3"]["inputs"] |= {"text": "a \\(red:1.5\\) circle", "cleaning": "lowercase"}
    weighted = new_graph()
    weighted["3"]["inputs"] |= {"text": "a (red:1.5) circle", "cleaning": "lowercase"}
    found = pixels(client, graph)
    assert np.abs(found - pixels(client, wanted)).max() <= 1
    assert np.abs(found - pixels(client, weighted)).mean() > 0.1


def test_a_hint_of_other_channels_is_a_sentence(pack: ModuleType) -> None:
    from pixart_pack.nodes.host.legacy import with_hint
    from pixart_pack.pixart_core.errors import SamplingError

    with pytest.raises(SamplingError, match="a latent of the shape 1 × 16 × 8 × 8"):
        with_hint([[torch.zeros(1, 2, 128), {}]], {"samples": torch.zeros(1, 16, 8, 8)})


def test_prompts_that_are_combined_share_their_hint(pack: ModuleType) -> None:
    from pixart_pack.nodes.host.legacy import with_hint

    given: list[list[Any]] = [[torch.zeros(1, 2, 128), {}], [torch.zeros(1, 3, 128), {}]]
    first, second = with_hint(given, {"samples": torch.zeros(1, 4, 8, 8)})
    assert first[1]["control"] is second[1]["control"]
    assert "control" not in given[0][1]
    assert first[1]["control"].control_model is None


def test_inputs_that_old_versions_did_not_have(client: HostClient) -> None:
    graph = old_graph(model="PixArt_XL_2")
    del graph["1"]["inputs"]["model"]
    del graph["2"]["inputs"]["path_type"]
    assert np.abs(pixels(client, graph) - pixels(client, new_graph())).max() <= 1


def test_an_old_size_reaches_the_latent(client: HostClient) -> None:
    graph = old_graph()
    graph["50"] = node("PixArtResolutionSelect", model="PixArt 512", ratio="0.52")
    graph["5"]["inputs"] |= {"width": ["50", 0], "height": ["50", 1]}
    graph["6"]["inputs"]["steps"] = 1
    assert pixels(client, graph).shape == (672, 352, 3)


def test_every_old_size() -> None:
    """Label and size as that pack listed them; three by hand, the rest by the rule."""
    assert old_size("PixArtMS_XL_2", "0.25") == (512, 2048)
    assert old_size("PixArt_XL_2", "1.46") == (608, 416)
    assert old_size("PixArtMS_Sigma_XL_2_2K", "0.52") == (1408, 2688)
    assert len(OLD_RATIOS) == 40
    for table in OLD_TABLES:
        for ratio in OLD_RATIOS:
            width, height = old_size(table, ratio)
            assert f"{width / height:.2f}" == ratio


def test_no_id_of_ours_is_another_packs_or_the_hosts(client: HostClient) -> None:
    info = client.object_info()
    ours = {n for n, entry in info.items() if entry["python_module"].startswith("custom_nodes.")}
    assert len(ours) > 20
    assert not ours & EXTRA_MODELS
    assert all(name.startswith("PixArt") for name in ours)
    old = {name for name in ours if name.startswith("PixArtLegacy")}
    assert len(old) == 10
    assert all(info[name]["deprecated"] for name in old)
    assert not any(info[name].get("deprecated") for name in ours - old)


def test_what_stands_for_old_nodes_is_announced(client: HostClient) -> None:
    answer = requests.get(f"http://{client.address}/node_replacements", timeout=30).json()
    info = client.object_info()
    for old in EXTRA_MODELS & answer.keys():
        (entry,) = answer[old]
        given = info[entry["new_node_id"]]["input"]
        inputs = [*given["required"], *given.get("optional", {})]
        assert [pair["new_id"] for pair in entry["input_mapping"]] == inputs
        assert [pair["old_id"] for pair in entry["input_mapping"]] == inputs
        assert len(entry["output_mapping"]) == len(info[entry["new_node_id"]]["output"])
        assert all(pair["new_idx"] == pair["old_idx"] for pair in entry["output_mapping"])
    assert len(EXTRA_MODELS & answer.keys()) == 10
    widgets = {old: entries[0]["old_widget_ids"] for old, entries in answer.items()}
    assert widgets["PixArtLoraLoader"] == ["lora_name", "strength"]
    assert widgets["PixArtT5TextEncode"] == ["text"]
    assert widgets["PixArtControlNetCond"] == []
    loader = ["t5v11_name", "t5v11_ver", "path_type", "device", "dtype"]
    assert widgets["T5v11Loader"] == loader


def test_t5_out_of_a_text_encoder_of_three(pack: ModuleType, demo: dict[str, Any]) -> None:
    from comfy.text_encoders.sd3_clip import SD3ClipModel, SD3Tokenizer
    from pixart_pack.nodes.host import conditioning, legacy
    from pixart_pack.pixart_core.errors import ConditioningError

    three = demo["clip"].clone()
    three.cond_stage_model = SD3ClipModel(clip_l=False, clip_g=False, t5=False)
    three.tokenizer = SD3Tokenizer()
    with pytest.raises(ConditioningError, match="a SD3ClipModel without it"):
        legacy.t5_of_sd3(three)
    three.cond_stage_model.t5xxl = demo["clip"].cond_stage_model.t5xxl
    alone = legacy.t5_of_sd3(three)
    wanted, found = (
        conditioning.encode_prompts(clip, ["a red (star:1.3)"], "off", None).conditioning[0][0]
        for clip in (demo["clip"], alone)
    )
    assert torch.equal(found, wanted)
    assert three.cond_stage_model.t5xxl is demo["clip"].cond_stage_model.t5xxl
