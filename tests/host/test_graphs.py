"""The sampler among the host's own nodes, judged by the picture."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from demo.judge import judge
from demo.scenes import COLOURS, Scene, draw
from devtools.client import ExecutionFailed, HostClient, Result
from devtools.server import HostServer

from .graphs import Graph, node, text_to_image

Pixels = NDArray[np.float32]

START = Scene("circle", "green", "yellow")
WANTED = Scene("square", "blue", "yellow", place="right")
PROMPT = "a blue square on the right, yellow background"
LEFT, RIGHT = np.s_[:, :112], np.s_[:, 144:]
"""Halves of a picture 256 wide, without what lies next to the seam."""


@pytest.fixture(scope="module")
def start(server: HostServer) -> str:
    """A picture in the host's input folder: the green circle; beside it an empty yellow one."""
    folder = server.base / "input"
    draw(START, 256, 256).save(folder / "start.png")
    Image.new("RGB", (256, 256), COLOURS["yellow"]).save(folder / "yellow.png")
    return "start.png"


def drawn(client: HostClient, graph: Graph) -> Pixels:
    """Run a graph and return its one picture, (H, W, 3) in 0..255."""
    return picture(client, client.run(graph))


def picture(client: HostClient, result: Result) -> Pixels:
    (image,) = result.images()
    return np.asarray(Image.open(io.BytesIO(client.image(image))).convert("RGB"), np.float32)


def share(pixels: Pixels, colour: str) -> float:
    """Share of the pixels that are nearer to a colour than to any other."""
    palette = np.array(list(COLOURS.values()), np.float32)
    nearest = np.linalg.norm(pixels[..., None, :] - palette, axis=-1).argmin(-1)
    return float((nearest == list(COLOURS).index(colour)).mean())


def painted(**settings: Any) -> Graph:
    """The text-to-image graph for ``PROMPT``, that starts from a picture in node 21."""
    graph = text_to_image(positive={"text": PROMPT}, PixArtSampler={"seed": 1, **settings})
    graph["6"]["inputs"]["latent_image"] = ["21", 0]
    graph["20"] = node("LoadImage", image="start.png")
    graph["21"] = node("VAEEncode", pixels=["20", 0], vae=["7", 0])
    return graph


def masked(graph: Graph, *, feather: int = 0) -> Graph:
    """The graph with the right half free and the left half kept, on a yellow picture."""
    graph["20"]["inputs"]["image"] = "yellow.png"
    graph["30"] = node("SolidMask", value=0.0, width=256, height=256)
    graph["31"] = node("SolidMask", value=1.0, width=128, height=256)
    graph["32"] = node("FeatherMask", mask=["31", 0], left=feather, top=0, right=0, bottom=0)
    graph["33"] = node(
        "MaskComposite", destination=["30", 0], source=["32", 0], x=128, y=0, operation="add"
    )
    graph["34"] = node("SetLatentNoiseMask", samples=["21", 0], mask=["33", 0])
    graph["6"]["inputs"]["latent_image"] = ["34", 0]
    return graph


def custom(graph: Graph, solver: str = "auto", guider: Graph | None = None, **more: Any) -> Graph:
    """The graph with SamplerCustomAdvanced and our solver and schedule in place of our sampler."""
    given = graph["6"]["inputs"]
    links = {name: given[name] for name in ("model", "positive", "negative")}
    schedule = {"steps": given["steps"], "denoise": given["denoise"], "start_step": 0}
    return {
        **graph,
        "40": node("RandomNoise", noise_seed=given["seed"]),
        "41": node("CFGGuider", **links, cfg=given["guidance"]),
        "42": node("PixArtSolver", solver=solver),
        "43": node(
            "PixArtSchedule",
            **{"model": given["model"], "solver": solver, **schedule, "end_step": 10000, **more},
        ),
        **(guider or {}),
        "6": node(
            "SamplerCustomAdvanced",
            **{"noise": ["40", 0], "guider": ["41", 0], "sampler": ["42", 0]},
            **{"sigmas": ["43", 0], "latent_image": given["latent_image"]},
        ),
    }


@pytest.mark.acts("SamplerCustomAdvanced")
@pytest.mark.parametrize("solver", ["DPM-Solver++", "DDIM", "SA-Solver", "LCM"])
def test_solver_and_schedule_are_the_sampler_in_parts(client: HostClient, solver: str) -> None:
    settings = {"solver": solver, "steps": 6, "seed": 5, "guidance": 2.0}
    graph = text_to_image(
        PixArtSampler=settings, PixArtResolution={"width": 128, "height": 128, "batch_size": 1}
    )
    whole = drawn(client, graph)
    assert np.array_equal(drawn(client, custom(graph, solver)), whole)


def test_two_samplers_share_a_schedule(client: HostClient) -> None:
    graph = custom(text_to_image(PixArtSampler={"steps": 20, "seed": 5}), "DDIM")
    whole = drawn(client, graph)
    graph["43"]["inputs"]["end_step"] = 8
    rest = {**graph["43"]["inputs"], "start_step": 8, "end_step": 10000}
    graph |= {"50": node("DisableNoise"), "51": node("PixArtSchedule", **rest)}
    second = {**graph["6"]["inputs"], "noise": ["50", 0], "sigmas": ["51", 0]}
    graph["60"] = node("SamplerCustomAdvanced", **{**second, "latent_image": ["6", 0]})
    graph["8"]["inputs"]["samples"] = ["60", 0]
    assert np.abs(drawn(client, graph) - whole).max() <= 2


def with_sigmas(solver: str, sigmas: dict[str, Any]) -> Graph:
    """A custom sampler with sigmas that are not our schedule's."""
    size = {"width": 128, "height": 128, "batch_size": 1}
    graph = custom(text_to_image(PixArtSampler={"steps": 8}, PixArtResolution=size), solver)
    graph["6"]["inputs"]["sigmas"] = ["70", 0]
    return {**graph, "70": sigmas}


KARRAS = node("KarrasScheduler", steps=20, sigma_max=157.0, sigma_min=0.02, rho=7.0)


@pytest.mark.parametrize(
    "solver", ["DPM-Solver++", "SA-Solver", "UniPC", "DEIS", "Euler", "IDDPM", "DDIM"]
)
@pytest.mark.acts("KarrasScheduler")
def test_sigmas_of_the_hosts_schedulers_are_followed(client: HostClient, solver: str) -> None:
    followed = drawn(client, with_sigmas(solver, KARRAS))
    assert share(followed, "blue") > 0.4
    own = with_sigmas(solver, KARRAS)
    own["6"]["inputs"]["sigmas"] = ["43", 0]
    assert np.abs(followed - drawn(client, own)).mean() > 0.05


def test_sigmas_that_a_solver_cannot_follow(client: HostClient) -> None:
    with pytest.raises(ExecutionFailed, match=r"or choose one that can: DPM-Solver\+\+"):
        client.run(with_sigmas("DMD", KARRAS))


def test_sigmas_that_rise(client: HostClient) -> None:
    graph = with_sigmas("DPM-Solver++", node("FlipSigmas", sigmas=["43", 0]))
    with pytest.raises(ExecutionFailed, match="each lower than the one before"):
        client.run(graph)


def test_a_picture_to_start_from(client: HostClient, start: str) -> None:
    little = drawn(client, painted(denoise=0.05))
    some, anew = drawn(client, painted(denoise=0.15)), drawn(client, painted(denoise=1.0))
    assert judge(Image.fromarray(little.astype(np.uint8))).has_colours_of(START)
    assert share(anew, "blue") > 0.05 > share(anew, "green")
    original = np.asarray(draw(START, 256, 256), np.float32)
    far = [np.abs(pixels - original).mean() for pixels in (little, some, anew)]
    assert far == sorted(far)


SOLVERS_FOR_MASKS = ["DPM-Solver++", "SA-Solver", "DEIS", "Euler"]
"""Two of them end above no noise, one keeps another state."""


@pytest.mark.acts("SetLatentNoiseMask")
@pytest.mark.parametrize("solver", SOLVERS_FOR_MASKS)
def test_inpainting_keeps_what_is_not_masked(client: HostClient, start: str, solver: str) -> None:
    graph = masked(painted(solver=solver))
    pixels = drawn(client, graph)
    assert share(pixels[RIGHT], "blue") > 0.1
    assert share(pixels[LEFT], "yellow") == 1
    assert share(pixels, "blue") == pytest.approx(share(pixels[:, 128:], "blue") / 2, abs=2e-3)


@pytest.mark.parametrize("solver", SOLVERS_FOR_MASKS)
def test_the_kept_area_is_the_original(
    server: HostServer, client: HostClient, start: str, solver: str
) -> None:
    graph = masked(painted(solver=solver, steps=4))
    kept = {i: n for i, n in graph.items() if n["class_type"] not in ("VAEDecode", "SaveImage")}
    for name, source in (("drawn", ["6", 0]), ("given", ["21", 0])):
        kept[name] = node("SaveLatent", samples=source, filename_prefix=f"{name}-{solver}")
    result = client.run(kept)
    found, wanted = (saved(server, result, name) for name in ("drawn", "given"))
    assert np.abs(found - wanted)[..., :16].max() <= 1e-5
    assert np.abs(found - wanted)[..., 16:].max() > 0.1


def saved(server: HostServer, result: Result, name: str) -> NDArray[Any]:
    """The latent that a graph's SaveLatent wrote."""
    from safetensors.numpy import load_file

    (file,) = result.outputs[name]["latents"]
    return load_file(server.base / "output" / file["subfolder"] / file["filename"])["latent_tensor"]


@pytest.mark.acts("VAEEncodeForInpaint")
def test_inpainting_with_the_hosts_inpaint_encoder(client: HostClient, start: str) -> None:
    graph = masked(painted())
    graph["34"] = node(
        "VAEEncodeForInpaint", pixels=["20", 0], vae=["7", 0], mask=["33", 0], grow_mask_by=0
    )
    pixels = drawn(client, graph)
    assert share(pixels[RIGHT], "blue") > 0.1
    assert share(pixels[LEFT], "yellow") == 1


@pytest.mark.acts("DifferentialDiffusion")
def test_differential_diffusion(client: HostClient, start: str) -> None:
    graph = masked(painted(), feather=64)
    graph["35"] = node("DifferentialDiffusion", model=["1", 0], strength=1.0)
    graph["6"]["inputs"]["model"] = ["35", 0]
    pixels = drawn(client, graph)
    assert share(pixels[RIGHT], "blue") > 0.05
    assert share(pixels[LEFT], "yellow") == 1
    graph["6"]["inputs"]["model"] = ["1", 0]
    assert np.abs(drawn(client, graph) - pixels).mean() > 0.05


def regional(area: Callable[[str, int], dict[str, Any]]) -> Graph:
    """Two prompts, for the left and for the right half of a wide picture."""
    size = {"width": 256, "height": 128, "batch_size": 1}
    left, right = {"text": "a blue background"}, "a red background"
    graph = text_to_image(positive=left, PixArtResolution=size, PixArtSampler={"seed": 2})
    graph["80"] = {**graph["3"], "inputs": {**graph["3"]["inputs"], "text": right}}
    graph |= {"81": area("3", 0), "82": area("80", 128)}
    graph["83"] = node("ConditioningCombine", conditioning_1=["81", 0], conditioning_2=["82", 0])
    graph["6"]["inputs"]["positive"] = ["83", 0]
    return graph


def in_area(prompt: str, x: int) -> dict[str, Any]:
    return node(
        "ConditioningSetArea",
        **{"conditioning": [prompt, 0], "width": 128, "height": 128, "x": x, "y": 0},
        strength=1.0,
    )


def in_mask(prompt: str, x: int) -> dict[str, Any]:
    return node(
        "ConditioningSetMask",
        **{"conditioning": [prompt, 0], "mask": [f"mask{x}", 0], "strength": 1.0},
        set_cond_area="default",
    )


def half_masks() -> Graph:
    """Masks of the left and of the right half, in the nodes mask0 and mask128."""
    graph = {
        "90": node("SolidMask", value=0.0, width=256, height=128),
        "91": node("SolidMask", value=1.0, width=128, height=128),
    }
    for x in (0, 128):
        graph[f"mask{x}"] = node(
            "MaskComposite", destination=["90", 0], source=["91", 0], x=x, y=0, operation="add"
        )
    return graph


@pytest.mark.acts("ConditioningSetArea", "ConditioningSetMask")
@pytest.mark.parametrize("where", [in_area, in_mask])
def test_prompts_for_parts_of_the_picture(
    client: HostClient, where: Callable[[str, int], dict[str, Any]]
) -> None:
    pixels = drawn(client, {**regional(where), **half_masks()})
    left, right = pixels[:, :96], pixels[:, 160:]
    redness = [float((part[..., 0] - part[..., 2]).mean()) for part in (left, right)]
    assert redness[0] < -50
    assert redness[1] > redness[0] + 80


@pytest.mark.parametrize("where", [in_area, in_mask])
def test_iddpm_reads_the_variance_of_one_prompt(
    client: HostClient, where: Callable[[str, int], dict[str, Any]]
) -> None:
    graph = {**regional(where), **half_masks()}
    graph["6"]["inputs"] |= {"solver": "IDDPM", "steps": 2}
    with pytest.raises(ExecutionFailed, match="IDDPM cannot draw with several prompts"):
        client.run(graph)


def second_pass(graph: Graph, latent: list[Any]) -> Graph:
    """The graph with a second sampler over a larger latent."""
    again = {**graph["6"]["inputs"], "latent_image": latent, "denoise": 0.5}
    return {
        **graph,
        "60": node("PixArtSampler", **again),
        "8": node("VAEDecode", samples=["60", 0], vae=["7", 0]),
    }


def upscaled_latent(graph: Graph) -> Graph:
    large = {"width": 256, "height": 256, "crop": "disabled", "upscale_method": "bislerp"}
    graph["61"] = node("LatentUpscale", samples=["6", 0], **large)
    return second_pass(graph, ["61", 0])


def upscaled_image(graph: Graph) -> Graph:
    large = {"width": 256, "height": 256, "crop": "disabled", "upscale_method": "lanczos"}
    graph["62"] = node("VAEDecode", samples=["6", 0], vae=["7", 0])
    graph["63"] = node("ImageScale", image=["62", 0], **large)
    graph["64"] = node("VAEEncode", pixels=["63", 0], vae=["7", 0])
    return second_pass(graph, ["64", 0])


@pytest.mark.acts("LatentUpscale", "ImageScale")
@pytest.mark.parametrize("upscaled", [upscaled_latent, upscaled_image])
def test_a_second_pass_at_twice_the_size(
    client: HostClient, upscaled: Callable[[Graph], Graph]
) -> None:
    small = {"width": 128, "height": 128, "batch_size": 1}
    graph = text_to_image(PixArtResolution=small, PixArtSampler={"seed": 4})
    pixels = drawn(client, upscaled(graph))
    assert pixels.shape == (256, 256, 3)
    assert judge(Image.fromarray(pixels.astype(np.uint8))).has_colours_of(
        Scene("circle", "red", "blue")
    )


def perp_neg(graph: Graph) -> Graph:
    links = {"model": ["1", 0], "positive": ["3", 0], "negative": ["4", 0]}
    scales = {"cfg": 4.5, "neg_scale": 1.0}
    guider = node("PerpNegGuider", **links, empty_conditioning=["44", 0], **scales)
    empty = {**graph["4"], "inputs": {**graph["4"]["inputs"], "text": ""}}
    return custom(graph, guider={"41": guider, "44": empty})


def rescaled(graph: Graph) -> Graph:
    graph["45"] = node("RescaleCFG", model=["1", 0], multiplier=0.7)
    graph["6"]["inputs"]["model"] = ["45", 0]
    return graph


def basic(graph: Graph) -> Graph:
    guider = node("BasicGuider", model=["1", 0], conditioning=["3", 0])
    return custom(graph, guider={"41": guider})


@pytest.mark.acts("PerpNegGuider", "RescaleCFG", "BasicGuider")
@pytest.mark.parametrize("guided", [perp_neg, rescaled, basic])
def test_guiders_of_the_host(client: HostClient, guided: Callable[[Graph], Graph]) -> None:
    graph = text_to_image(PixArtSampler={"seed": 3}, negative={"text": "green"})
    plain = drawn(client, copy.deepcopy(graph))
    pixels = drawn(client, guided(graph))
    assert share(pixels, "blue") > 0.4
    assert share(pixels, "red") > 0.05
    assert np.abs(pixels - plain).mean() > 0.05


def test_the_solver_says_what_does_not_suit_the_model(client: HostClient) -> None:
    small = {"width": 128, "height": 128, "batch_size": 1}
    said = {}
    for solver in ("DMD", "LCM", "auto"):
        settings = {"solver": solver, "seed": 77}
        result = client.run(text_to_image(PixArtResolution=small, PixArtSampler=settings))
        said[solver] = " ".join(result.outputs.get("6", {}).get("text", []))
    assert "DMD needs a model that was made for it, and alpha-256 was not" in said["DMD"]
    assert "DMD takes at most 1 step;" in said["DMD"]
    assert "Models for LCM have their guidance built in: 4.5 more burns" in said["LCM"]
    assert said["auto"] == ""


@pytest.mark.parametrize("start_step", [20, 999])
def test_a_schedule_without_a_step(client: HostClient, start_step: int) -> None:
    graph = custom(text_to_image(PixArtSampler={"steps": 20}), start_step=start_step)
    with pytest.raises(ExecutionFailed, match="The schedule has no step left"):
        client.run(graph)
