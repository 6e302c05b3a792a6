"""Numbers: T5 against transformers, the sampler against diffusers' pipeline, masks, forwards."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, PixArtAlphaPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import T5Config, T5EncoderModel, T5TokenizerFast

from devtools.client import HostClient
from devtools.environment import host_folder
from devtools.parity_solvers import demo_transformer
from devtools.reference import relative_error
from devtools.server import HostServer
from pixart_core.checkpoint.layouts import to_diffusers
from pixart_core.text.t5 import detect_t5

from .conftest import DEMO
from .graphs import saving_latents, text_to_image, with_stock_nodes

PROMPT, NEGATIVE = "a yellow star on a purple background", "red"
SEED = 42


def reference_t5() -> T5EncoderModel:
    """Return transformers' own encoder with the demo's weights, fp32."""
    tensors = load_file(DEMO["text_encoders"])
    shape = detect_t5({key: tuple(value.shape) for key, value in tensors.items()})
    config = T5Config(
        d_model=shape.width,
        d_kv=shape.head_size,
        d_ff=shape.mlp_size,
        num_layers=shape.layers,
        num_heads=shape.heads,
        feed_forward_proj="gated-gelu",
        vocab_size=32128,
    )
    model = T5EncoderModel(config).float().eval()
    model.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=False)
    return model


def reference_tokenizer() -> T5TokenizerFast:
    """Return T5's tokenizer, from the files that the host carries."""
    folder = host_folder() / "comfy" / "text_encoders" / "t5_tokenizer"
    return T5TokenizerFast.from_pretrained(folder, local_files_only=True)


@torch.no_grad()
def reference_embedding(text: str) -> tuple[Tensor, Tensor]:
    """Encode as the reference does: padded to 120 tokens, with a mask."""
    given = reference_tokenizer()(
        text, max_length=120, padding="max_length", truncation=True, return_tensors="pt"
    )
    out = reference_t5()(input_ids=given.input_ids, attention_mask=given.attention_mask)
    return out.last_hidden_state, given.attention_mask


def reference_pipeline() -> PixArtAlphaPipeline:
    """Return diffusers' pipeline around the demo's denoiser."""
    scheduler = DPMSolverMultistepScheduler(beta_schedule="linear", beta_start=1e-4, beta_end=0.02)
    return PixArtAlphaPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=None,
        transformer=demo_transformer(),
        scheduler=scheduler,
    )


@torch.no_grad()
def reference_latent(
    noise: Tensor,
    steps: int = 20,
    prompts: tuple[str, str] = (PROMPT, NEGATIVE),
    embeddings: tuple[Tensor, Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """Return the latent that diffusers' pipeline ends with.

    ``embeddings`` are those of prompt and negative, each with its mask, where T5 is not asked.
    """
    if embeddings is None:
        embeddings = (*reference_embedding(prompts[0]), *reference_embedding(prompts[1]))
    prompt, mask, negative, negative_mask = embeddings
    pipeline = reference_pipeline()
    pipeline.set_progress_bar_config(disable=True)
    latent: Tensor = pipeline(
        prompt_embeds=prompt,
        prompt_attention_mask=mask,
        negative_prompt=None,
        negative_prompt_embeds=negative,
        negative_prompt_attention_mask=negative_mask,
        latents=noise,
        num_inference_steps=steps,
        guidance_scale=4.5,
        height=noise.shape[-2] * 8,
        width=noise.shape[-1] * 8,
        use_resolution_binning=False,
        output_type="latent",
    ).images
    return latent


def saved_latent(server: HostServer, client: HostClient, graph: dict[str, Any]) -> Tensor:
    """Run a graph and return its latent in the model's scale."""
    result = client.run(saving_latents(graph))
    (file,) = result.outputs["100"]["latents"]
    path: Path = server.base / "output" / file["subfolder"] / file["filename"]
    return load_file(path)["latent_tensor"] * 0.18215


@pytest.mark.parametrize("size", [(256, 256), (192, 320)], ids=str)
def test_the_sampler_equals_diffusers_pipeline(
    server: HostServer, client: HostClient, size: tuple[int, int]
) -> None:
    height, width = size
    graph = text_to_image(
        PixArtModelLoader={"weight_dtype": "fp32"},
        PixArtT5Loader={"precision": "fp32"},
        PixArtResolution={"width": width, "height": height, "batch_size": 2},
        PixArtSampler={"seed": SEED},
        positive={"text": PROMPT},
        negative={"text": NEGATIVE},
    )
    found = saved_latent(server, client, graph)
    noise = torch.randn(2, 4, height // 8, width // 8, generator=torch.manual_seed(SEED))
    wanted = torch.cat([reference_latent(row) for row in noise.split(1)])
    assert relative_error(found, wanted) <= 1e-4


def test_a_file_in_diffusers_layout_is_the_same_model(
    pack: ModuleType, demo: dict[str, Any], tmp_path: Path
) -> None:
    from pixart_pack.nodes.host.loading import load_model

    path = tmp_path / "PixArt-XL-2-256x256.safetensors"
    tensors = to_diffusers(load_file(DEMO["diffusion_models"]))
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    torch.save({"state_dict": load_file(DEMO["diffusion_models"])}, tmp_path / "original.pth")
    saved = demo["model"].state_dict_for_saving()
    save_file({key: value.clone() for key, value in saved.items()}, tmp_path / "saved.safetensors")
    wanted, *others = (
        patcher.model.diffusion_model.float().state_dict()
        for patcher in (
            demo["model"],
            load_model(path, "auto", "fp32").patcher,
            load_model(tmp_path / "original.pth", "auto", "fp32").patcher,
            load_model(tmp_path / "saved.safetensors", "auto", "fp32").patcher,
        )
    )
    assert all(torch.equal(found[key], wanted[key]) for found in others for key in found)
    assert load_model(path, "auto", "fp32").patcher.model.variant.name == "alpha-256"


def test_t5_equals_transformers(pack: ModuleType, demo: dict[str, Any]) -> None:
    from pixart_pack.nodes.host.conditioning import encode_prompts

    for text in (PROMPT, "", "a much longer prompt, with commas, and 12 numbers! " * 5):
        ((embedding, extra),) = encode_prompts(demo["clip"], [text], "auto", None).conditioning
        wanted, mask = reference_embedding(text.lower().strip())
        real = wanted[mask.bool()]
        assert relative_error(embedding[0], real) <= 1e-5
        assert "attention_mask" not in extra


@pytest.mark.parametrize(("precision", "close"), [("bf16", 2e-2), ("fp16", 2e-3)])
def test_t5_in_half_precision(pack: ModuleType, precision: str, close: float) -> None:
    from pixart_pack.nodes.host.conditioning import encode_prompts
    from pixart_pack.nodes.host.text_encoder import PRECISIONS, load_text_encoder

    clip = load_text_encoder(DEMO["text_encoders"], precision, "cpu")
    weights = clip.cond_stage_model.t5xxl.transformer.encoder.block[0].layer[0].SelfAttention.q
    assert weights.weight.dtype == PRECISIONS[precision].dtype
    ((embedding, _),) = encode_prompts(clip, [PROMPT], "auto", None).conditioning
    wanted, mask = reference_embedding(PROMPT)
    assert relative_error(embedding[0], wanted[mask.bool()]) <= close


def test_two_prompts_of_different_length_take_one_forward_a_step(
    pack: ModuleType, demo: dict[str, Any]
) -> None:
    from pixart_pack.nodes.host.conditioning import encode_prompts
    from pixart_pack.nodes.host.latent import empty_latent
    from pixart_pack.nodes.host.sampler import Settings, sample

    shapes: list[tuple[int, ...]] = []
    hook = demo["model"].model.diffusion_model.register_forward_hook(
        lambda module, given, kept, out: shapes.append(tuple(kept["context"].shape)),
        with_kwargs=True,
    )
    positive, negative = (
        encode_prompts(demo["clip"], [text], "auto", demo["model"]).conditioning
        for text in (PROMPT, NEGATIVE)
    )
    lengths = [conditioning[0][0].shape[1] for conditioning in (positive, negative)]
    with torch.inference_mode():
        settings = Settings(SEED, 4, 4.5, "DPM-Solver++", 1.0)
        sample(demo["model"], positive, negative, empty_latent(128, 128, 1), settings)
    hook.remove()
    assert lengths[0] > lengths[1]
    assert shapes == [(2, lengths[0], 128)] * 4


def test_guidance_of_one_runs_the_prompt_alone(pack: ModuleType, demo: dict[str, Any]) -> None:
    from pixart_pack.nodes.host.conditioning import encode_prompts
    from pixart_pack.nodes.host.latent import empty_latent
    from pixart_pack.nodes.host.sampler import Settings, sample

    rows: list[int] = []
    hook = demo["model"].model.diffusion_model.register_forward_hook(
        lambda module, given, out: rows.append(len(out))
    )
    prompt = encode_prompts(demo["clip"], [PROMPT], "auto", demo["model"]).conditioning
    with torch.inference_mode():
        sample(
            demo["model"],
            prompt,
            prompt,
            empty_latent(128, 128, 1),
            Settings(SEED, 2, 1.0, "DPM-Solver++", 1.0),
        )
    hook.remove()
    assert rows == [1, 1]


@torch.no_grad()
def test_image_to_image_equals_diffusers_schedule(pack: ModuleType, demo: dict[str, Any]) -> None:
    from pixart_pack.nodes.host.conditioning import encode_prompts
    from pixart_pack.nodes.host.sampler import Settings, sample

    prompt = encode_prompts(demo["clip"], [PROMPT], "auto", demo["model"]).conditioning
    start = torch.randn(1, 4, 16, 16, generator=torch.manual_seed(0))
    same, found = (
        sample(
            demo["model"],
            prompt,
            prompt,
            {"samples": start / 0.18215},
            Settings(SEED, 4, 1.0, "DPM-Solver++", denoise),
        )[0]["samples"]
        for denoise in (0.0, 0.4)
    )
    pipeline = reference_pipeline()
    embedding, mask = reference_embedding(PROMPT)
    pipeline.scheduler.set_timesteps(10)
    timesteps = pipeline.scheduler.timesteps[-4:]
    pipeline.scheduler.set_begin_index(6)
    noise = torch.randn(1, 4, 16, 16, generator=torch.manual_seed(SEED))
    x = pipeline.scheduler.add_noise(start, noise, timesteps[:1])
    for t in timesteps:
        out = pipeline.transformer(
            x,
            encoder_hidden_states=embedding,
            encoder_attention_mask=mask,
            timestep=t[None],
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        ).sample
        x = pipeline.scheduler.step(out[:, :4], t, x).prev_sample
    assert torch.equal(same, start / 0.18215)
    assert relative_error(found * 0.18215, x) <= 1e-4


def test_a_mask_keeps_what_lies_outside(pack: ModuleType, demo: dict[str, Any]) -> None:
    from pixart_pack.nodes.host.conditioning import encode_prompts
    from pixart_pack.nodes.host.sampler import Settings, sample

    prompt = encode_prompts(demo["clip"], [PROMPT], "auto", demo["model"]).conditioning
    start = torch.randn(1, 4, 16, 16, generator=torch.manual_seed(0))
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 8:] = 1
    latent = {"samples": start, "noise_mask": mask}
    with torch.inference_mode():
        settings = Settings(SEED, 3, 1.0, "DPM-Solver++", 1.0)
        found = sample(demo["model"], prompt, prompt, latent, settings)[0]["samples"]
    assert relative_error(found[..., :8], start[..., :8]) <= 1e-5
    assert relative_error(found[..., 8:], start[..., 8:]) > 0.1


def test_ours_and_the_hosts_sampler_agree(server: HostServer, client: HostClient) -> None:
    """They visit almost the same timesteps; ours rounds them as diffusers does."""
    graph = text_to_image(positive={"text": PROMPT}, PixArtSampler={"seed": SEED})
    ours, stock = (
        saved_latent(server, client, given) for given in (graph, with_stock_nodes(graph))
    )
    assert relative_error(stock, ours) <= 0.05


@pytest.mark.parametrize("shape", [(1, 4, 1, 16, 16), (4, 16, 16), (1, 16, 16, 16)], ids=str)
def test_latents_of_other_models_are_refused(
    pack: ModuleType, demo: dict[str, Any], shape: tuple[int, ...]
) -> None:
    from pixart_pack.nodes.host.conditioning import encode_prompts
    from pixart_pack.nodes.host.sampler import Settings, sample

    prompt = encode_prompts(demo["clip"], [PROMPT], "auto", demo["model"]).conditioning
    settings = Settings(SEED, 1, 1.0, "DPM-Solver++", 1.0)
    with pytest.raises(ValueError, match="The latent does not fit this model"):
        sample(demo["model"], prompt, prompt, {"samples": torch.ones(shape)}, settings)


@pytest.mark.parametrize(("guidance", "denoise"), [(float("nan"), 1.0), (4.5, float("nan"))])
def test_settings_that_are_no_numbers_are_refused(
    pack: ModuleType, demo: dict[str, Any], guidance: float, denoise: float
) -> None:
    from pixart_pack.nodes.host.sampler import Settings, sample

    settings = Settings(SEED, 1, guidance, "DPM-Solver++", denoise)
    with pytest.raises(ValueError, match="cannot use these settings: found a guidance of"):
        sample(demo["model"], None, None, {}, settings)


def test_the_host_can_make_model_and_clip_anew(pack: ModuleType, demo: dict[str, Any]) -> None:
    for patcher in (demo["model"], demo["clip"].patcher):
        factory, arguments = patcher.cached_patcher_init
        again = factory(*arguments, disable_dynamic=True)
        wanted = patcher.model.state_dict()
        found = again.model.state_dict()
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key].float(), wanted[key].float()) for key in wanted)


def test_a_linked_file_name_is_no_reason_to_load_anew(pack: ModuleType) -> None:
    from pixart_pack.nodes.load import PixArtModelLoader, PixArtT5Loader

    for node in (PixArtModelLoader, PixArtT5Loader):
        assert node.fingerprint_inputs(file=None, precision="auto") == ""


def test_only_pixart_models_are_sampled(pack: ModuleType, demo: dict[str, Any]) -> None:
    from pixart_pack.nodes.host.conditioning import encode_prompts
    from pixart_pack.nodes.host.sampler import Settings, sample

    class Other:
        model = torch.nn.Linear(1, 1)

    settings = Settings(SEED, 4, 1.0, "DPM-Solver++", 1.0)
    with pytest.raises(ValueError, match="solvers cannot run this model: found a Linear, expected"):
        sample(Other(), None, None, {}, settings)
    with pytest.raises(ValueError, match="cannot take its settings from this model"):
        encode_prompts(demo["clip"], [PROMPT], "auto", Other())
    with pytest.raises(
        ValueError, match="cannot be read by this text encoder: found none, expected T5"
    ):
        encode_prompts(None, [PROMPT], "auto", demo["model"])
    with pytest.raises(ValueError, match="solvers cannot run this model: found none"):
        sample(None, None, None, {}, settings)
