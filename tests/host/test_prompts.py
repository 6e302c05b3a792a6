"""What prompts become: batches, host nodes on our conditionings, the null caption; in numbers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from devtools.reference import relative_error

from .conftest import DEMO
from .test_parity import (
    SEED,
    reference_embedding,
    reference_latent,
    reference_pipeline,
    reference_t5,
    reference_tokenizer,
)

PROMPTS = (
    "a red circle on a blue background",
    "a small yellow star on the left of a purple background",
    "green",
    "",
    "a large black square on a white background",
    "an orange triangle",
    "a white star on a red background, and nothing else at all in the picture",
    "a blue circle",
)


def conditioning(demo: dict[str, Any], *texts: str) -> Any:
    """Encode prompts with the demo T5."""
    from pixart_pack.nodes.host.conditioning import encode_prompts

    return encode_prompts(demo["clip"], texts, "auto", demo["model"]).conditioning


def latents(
    demo: dict[str, Any], positive: Any, negative: Any, noise: Tensor, steps: int = 4
) -> Tensor:
    """Sample from the given noise, at 128 px: (B, 4, 16, 16) in the model's scale."""
    from pixart_pack.nodes.host.latent import empty_latent
    from pixart_pack.nodes.host.sampler import Settings, sample

    settings = Settings(SEED, steps, 4.5, "DPM-Solver++", 1.0)
    with torch.inference_mode():
        latent = empty_latent(128, 128, len(noise))
        found: Tensor = sample(demo["model"], positive, negative, latent, settings)[0]["samples"]
    return found * 0.18215


def noise_of(count: int) -> Tensor:
    """Return what the sampler draws for a batch."""
    return torch.randn(count, 4, 16, 16, generator=torch.manual_seed(SEED))


@pytest.mark.parametrize("count", [2, 3, 8])
def test_a_batch_of_prompts_equals_each_alone(
    pack: ModuleType, demo: dict[str, Any], count: int
) -> None:
    noise = noise_of(count)
    negative = conditioning(demo, "red")
    found = latents(demo, conditioning(demo, *PROMPTS[:count]), negative, noise)
    for i, text in enumerate(PROMPTS[:count]):
        wanted = reference_latent(noise[i : i + 1], steps=4, prompts=(text, "red"))
        assert relative_error(found[i : i + 1], wanted) <= 1e-4, text


def test_a_prompt_that_comes_twice_is_encoded_once(pack: ModuleType, demo: dict[str, Any]) -> None:
    calls: list[int] = []
    encoder = demo["clip"].cond_stage_model.t5xxl
    hook = encoder.register_forward_hook(lambda *_: calls.append(1))
    ((embedding, extras),) = conditioning(demo, *PROMPTS[:2], *PROMPTS[:2])
    hook.remove()
    assert len(calls) == 2
    assert embedding.shape[0] == 4
    assert (
        extras["attention_mask"].sum(1).tolist()[:2] == extras["attention_mask"].sum(1).tolist()[2:]
    )


def test_no_prompts_are_an_error(pack: ModuleType, demo: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="nothing to encode: found no prompts"):
        conditioning(demo)


def test_the_null_caption_is_that_of_the_scripts(pack: ModuleType, demo: dict[str, Any]) -> None:
    from pixart_pack.nodes.host.null_caption import null_conditioning

    positive = conditioning(demo, PROMPTS[0])
    embedding, mask = reference_embedding(PROMPTS[0])
    null = load_file(DEMO["diffusion_models"])["y_embedder.y_embedding"].float()[None]
    noise = noise_of(1)
    for given, null_mask in ((positive, mask), (None, torch.ones_like(mask))):
        found = latents(demo, positive, null_conditioning(demo["model"], given), noise)
        wanted = reference_latent(noise, steps=4, embeddings=(embedding, mask, null, null_mask))
        assert relative_error(found, wanted) <= 1e-4


def test_the_null_caption_follows_each_row_of_a_batch(
    pack: ModuleType, demo: dict[str, Any]
) -> None:
    from pixart_pack.nodes.host.null_caption import null_conditioning

    positive = conditioning(demo, *PROMPTS[:3])
    ((embedding, extras),) = null_conditioning(demo["model"], positive)
    assert embedding.shape == positive[0][0].shape
    assert torch.equal(extras["attention_mask"], positive[0][1]["attention_mask"])


def test_a_file_without_null_caption_is_refused(pack: ModuleType, tmp_path: Path) -> None:
    from pixart_pack.nodes.host.loading import load_model
    from pixart_pack.nodes.host.null_caption import null_conditioning

    tensors = load_file(DEMO["diffusion_models"])
    del tensors["y_embedder.y_embedding"]
    save_file(tensors, tmp_path / "PixArt-XL-2-256x256.safetensors")
    model = load_model(tmp_path / "PixArt-XL-2-256x256.safetensors", "auto", "fp32").patcher
    with pytest.raises(ValueError, match="no null caption to take from this model: found a file"):
        null_conditioning(model, None)


@pytest.fixture(scope="module")
def host_nodes(pack: ModuleType) -> Any:
    """The host's own module of nodes."""
    import importlib

    return importlib.import_module("nodes")


def test_the_hosts_nodes_do_what_they_say(demo: dict[str, Any], host_nodes: Any) -> None:
    one, two = (conditioning(demo, text) for text in PROMPTS[:2])
    negative, noise = conditioning(demo, ""), noise_of(1)

    def drawn(positive: Any) -> Tensor:
        return latents(demo, positive, negative, noise)

    alone, other = drawn(one), drawn(two)
    concat = host_nodes.ConditioningConcat().concat
    average = host_nodes.ConditioningAverage().addWeighted
    combine = host_nodes.ConditioningCombine().combine
    timed = host_nodes.ConditioningSetTimestepRange().set_range
    zeroed = host_nodes.ConditioningZeroOut().zero_out
    # Attention does not mind the order of tokens, if none of them is masked.
    both = drawn(*concat(one, two)), drawn(*concat(two, one))
    assert relative_error(both[0], both[1]) <= 1e-4
    assert relative_error(both[0], alone) > 0.05
    assert relative_error(drawn(*average(one, two, 1.0)), alone) <= 1e-4
    assert relative_error(drawn(*average(one, one, 0.3)), alone) <= 1e-4
    assert relative_error(drawn(*average(one, two, 0.5)), alone) > 0.05
    assert relative_error(drawn(*combine(one, one)), alone) <= 1e-4
    mixed = drawn(*combine(one, two))
    assert min(relative_error(mixed, alone), relative_error(mixed, other)) > 0.05
    assert relative_error(drawn(*timed(one, 0.0, 1.0)), alone) <= 1e-6
    halves = combine(*timed(one, 0.0, 0.5), *timed(one, 0.5, 1.0))
    assert relative_error(drawn(*halves), alone) <= 1e-4
    halves = combine(*timed(one, 0.0, 0.5), *timed(two, 0.5, 1.0))
    assert min(relative_error(drawn(*halves), each) for each in (alone, other)) > 0.01
    zero = drawn(*zeroed(one))
    assert torch.isfinite(zero).all()
    assert relative_error(zero, alone) > 0.05


def test_concatenated_batches_do_not_read_padding(demo: dict[str, Any], host_nodes: Any) -> None:
    negative, noise = conditioning(demo, ""), noise_of(2)
    concat = host_nodes.ConditioningConcat().concat
    (both,) = concat(conditioning(demo, *PROMPTS[:2]), conditioning(demo, *PROMPTS[2:4]))
    found = latents(demo, both, negative, noise)
    for i in range(2):
        (alone,) = concat(conditioning(demo, PROMPTS[i]), conditioning(demo, PROMPTS[2 + i]))
        # The sampler draws the noise of a batch row by row from one seed.
        wanted = latents(demo, alone, negative, noise)
        assert relative_error(found[i], wanted[i]) <= 1e-4


GROUNDS = tuple(f"a white circle on a {colour} background" for colour in ("red", "blue"))


def test_areas_show_each_prompt_in_its_place(demo: dict[str, Any], host_nodes: Any) -> None:
    grounds = [conditioning(demo, text) for text in GROUNDS]
    negative, noise = conditioning(demo, ""), noise_of(1)
    alone = [latents(demo, ground, negative, noise, steps=10) for ground in grounds]
    area = host_nodes.ConditioningSetArea().append
    (both,) = host_nodes.ConditioningCombine().combine(
        *area(grounds[0], 64, 128, 0, 0, 1.0), *area(grounds[1], 64, 128, 64, 0, 1.0)
    )
    found = latents(demo, both, negative, noise, steps=10)
    for ground, columns in enumerate((slice(0, 3), slice(13, 16))):
        own, other = (
            relative_error(found[..., columns], alone[i][..., columns])
            for i in (ground, 1 - ground)
        )
        assert own < other


def test_masks_take_each_prompt_in_its_place(demo: dict[str, Any], host_nodes: Any) -> None:
    """In one step, for what shows then is seen by both prompts: this model knows one ground."""
    grounds = [conditioning(demo, text) for text in GROUNDS]
    negative, noise = conditioning(demo, ""), noise_of(1)
    alone = [latents(demo, ground, negative, noise, steps=1) for ground in grounds]
    mask = host_nodes.ConditioningSetMask().append
    left = torch.zeros(1, 128, 128)
    left[..., :64] = 1
    (both,) = host_nodes.ConditioningCombine().combine(
        *mask(grounds[0], left, "default", 1.0), *mask(grounds[1], 1 - left, "default", 1.0)
    )
    found = latents(demo, both, negative, noise, steps=1)
    assert relative_error(*alone) > 0.1
    assert relative_error(found[..., :8], alone[0][..., :8]) <= 1e-4
    assert relative_error(found[..., 8:], alone[1][..., 8:]) <= 1e-4


def test_saved_prompts_keep_what_is_known(pack: ModuleType, demo: dict[str, Any]) -> None:
    from pixart_pack.nodes.host.prompt_files import _prompt_of

    text = "a (RED:1.3) Circle"
    note = _prompt_of(conditioning(demo, text)).note
    assert (note.text, note.cleaning, note.family) == ("a (red:1.3) circle", "reference", "alpha")
    assert (note.t5, note.precision) == ("t5-demo.safetensors", "fp32")
    averaged = [[embedding * 1, extras] for embedding, extras in conditioning(demo, text)]
    assert _prompt_of(averaged).note.text == ""


@pytest.mark.parametrize(
    "text",
    [
        "a (red:1.3) cat",
        "((a)) b (c)",
        "a \\(b\\) c",
        "(a (b:1.2) c:0.5)",
        "a [b] c",
        "(open",
        "shut) a",
        "(a:b) (c:-0.5)",
        "(\\(a\\):1.1) \\",
        "",
    ],
)
def test_weights_are_the_hosts_own_and_survive(
    pack: ModuleType, demo: dict[str, Any], text: str
) -> None:
    from pixart_pack.nodes.host.prompt_text import pieces_of, text_of

    given, again = (
        demo["clip"].tokenize(each)["t5xxl"][0] for each in (text, text_of(pieces_of(text)))
    )
    assert [token for token, _ in again] == [token for token, _ in given]
    assert [weight for _, weight in again] == pytest.approx([weight for _, weight in given])


@pytest.mark.parametrize(("cleaning", "cleans"), [("reference", True), ("lowercase", False)])
def test_embeddings_are_those_of_diffusers_pipeline(
    pack: ModuleType, demo: dict[str, Any], cleaning: str, cleans: bool
) -> None:
    from pixart_pack.nodes.host.conditioning import encode_prompts

    pipeline = reference_pipeline()
    pipeline.register_modules(tokenizer=reference_tokenizer(), text_encoder=reference_t5())
    for text in ("A Red   Circle — on “blue”, 8K, 1024x1024", "", "  A_b_c-d e & <b>f</b>"):
        with torch.no_grad():
            wanted, mask, *_ = pipeline.encode_prompt(
                text, False, clean_caption=cleans, device="cpu"
            )
        ((found, _),) = encode_prompts(demo["clip"], [text], cleaning, None).conditioning
        assert relative_error(found, wanted[:, : int(mask.sum())]) <= 1e-5


@pytest.mark.parametrize("pictures", [1, 2, 5])
def test_prompts_and_pictures_that_do_not_match_are_an_error(
    pack: ModuleType, demo: dict[str, Any], pictures: int
) -> None:
    negative = conditioning(demo, "")
    with pytest.raises(ValueError, match=f"do not fit the batch: found 3 prompts for {pictures}"):
        latents(demo, conditioning(demo, *PROMPTS[:3]), negative, noise_of(pictures))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(a red circle:nan) b", "a weight of nan"),
        ("(a:inf)", "a weight of inf"),
        ("(" * 3000 + "a" + ")" * 3000, "brackets within brackets"),
        ("half \ud83d", "half of a letter"),
    ],
)
def test_a_prompt_that_is_no_text_is_an_error(
    pack: ModuleType, demo: dict[str, Any], text: str, found: str
) -> None:
    with pytest.raises(ValueError, match=f"The prompt cannot be read: found {found}"):
        conditioning(demo, text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("红色的圆", '1 of 120 tokens. The cleaning "reference" left nothing of the prompt'),
        ("x" * 200_000, "Of 200,000 letters only the first 12,000 were read"),
        ("word " * 3_000, "letters) … "),
        ("", "1 of 120 tokens"),
    ],
)
def test_the_notice_says_what_is_not_read(
    pack: ModuleType, demo: dict[str, Any], text: str, told: str
) -> None:
    from pixart_pack.nodes.host.conditioning import encode_prompts

    notice = encode_prompts(demo["clip"], [text], "auto", demo["model"]).notice
    assert told in notice
    assert len(notice) < 2_300
