"""Training of the demo model: its loop with real networks, for a few steps."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
from transformers import T5EncoderModel

from demo.captions import Captioner, load_tokenizer
from demo.denoiser import Pair, Trainer
from demo.lessons import Batch, Lessons
from demo.mending import _right, draw_round, mend
from demo.reading import train_reader
from demo.recipe import NETWORK, TEXT, DrawnSet, Lesson, PictureSize, Recipe, Stage
from demo.scenes import (
    PARTIAL_TEMPLATES,
    PLACES,
    SHAPES,
    SIZES,
    TEMPLATES,
    UNSEEN,
    Scene,
    draw,
    random_scene,
    settled,
)
from demo.start import new_transformer
from demo.stencils import Stencils, form_of
from demo.vae import patch_means
from devtools.environment import host_folder
from devtools.reference import relative_error
from pixart_core.network.blocks import Block

SMALL, WIDE = PictureSize(64, 64), PictureSize(128, 64)
STAGE = Stage(
    2,
    timesteps=(100, 900),
    weight_limit=20,
    hidden=0.0,
    misled=0.5,
    overdone=0.5,
    partial=0.2,
    empty=0.2,
    lessons=(Lesson((SMALL, WIDE), share=1.0, batch=4, tokens=6), Lesson((SMALL,), 1.0, 4)),
)
RECIPE = Recipe(
    stages=(STAGE, replace(STAGE, hidden=0.5)),
    reading_steps=40,
    reading_batch=24,
    steps_between_sheets=1,
    steps_between_saves=1,
    mending=replace(STAGE, steps=5, kept=0.3),
    mending_round=2,
    mending_sets=(
        DrawnSet((SMALL,), draws=1, pictures=3, rows=4, share=0.4),
        DrawnSet((SMALL, WIDE), draws=2, pictures=2, rows=2, share=0.3),
        DrawnSet((SMALL,), draws=1, pictures=4, rows=2, share=0.3, is_wordless=True),
    ),
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner(
        load_tokenizer(host_folder() / "comfy" / "text_encoders" / "t5_tokenizer"), RECIPE
    )


@pytest.fixture(scope="module")
def text() -> T5EncoderModel:
    torch.manual_seed(0)
    return T5EncoderModel(TEXT).eval().requires_grad_(False)


def trainer(captioner: Captioner, text: T5EncoderModel) -> Trainer:
    return Trainer(RECIPE, text, Lessons(RECIPE.seed, captioner), CPU)


def run(captioner: Captioner, text: T5EncoderModel, state: Path, stop_at: int = 99) -> list[int]:
    """Train, and return the steps at which a sheet was due; stop as a kill would."""
    seen: list[int] = []

    def look(pair: Pair, step: int) -> None:
        seen.append(step)
        if step == stop_at:
            raise KeyboardInterrupt

    trainer(captioner, text).run(state, look)
    return seen


def test_a_killed_run_goes_on_where_it_was(
    captioner: Captioner, text: T5EncoderModel, tmp_path: Path
) -> None:
    state = tmp_path / "denoiser.pt"
    with pytest.raises(KeyboardInterrupt):
        run(captioner, text, state, stop_at=2)
    assert torch.load(state, weights_only=True)["step"] == 2
    assert run(captioner, text, state) == [3, 4]
    assert run(captioner, text, state) == []
    assert [path.name for path in tmp_path.iterdir()] == ["denoiser.pt"]


@pytest.mark.parametrize(("height", "width"), [(128, 128), (256, 256), (128, 512), (352, 176)])
def test_an_untrained_network_answers_with_its_input(height: int, width: int) -> None:
    network = new_transformer(0).requires_grad_(False)
    x = torch.randn(2, 4, height // 8, width // 8)
    context = torch.randn(2, 5, NETWORK.caption_channels)
    # Words and sizes reach the tokens already, of which the last norm makes a factor.
    for block in network.blocks:
        assert isinstance(block, Block)
        block.cross_attn.proj.weight.zero_()
        block.attn.proj.weight.zero_()
    found = network(x, torch.tensor([999, 10]), context, torch.ones(2, 5))[:, :4]
    assert relative_error(found, x) < 0.1


def test_two_heads_look_at_the_last_column_and_row() -> None:
    network = new_transformer(0).requires_grad_(False)
    first = network.blocks[0]
    assert isinstance(first, Block)
    rows, columns = 4, 16
    state = network.prepare(
        torch.randn(1, 4, 2 * rows, 2 * columns),
        torch.tensor([500]),
        torch.zeros(1, 1, NETWORK.caption_channels),
    )
    table = first.scale_shift_table + state.modulation
    shift, scale = table[:, :1], table[:, 1:2]
    q, k, _ = first.attn.qkv(first.norm1(state.tokens) * (1 + scale) + shift).chunk(3, -1)
    q, k = (part.unflatten(-1, (3, 72)).transpose(1, 2) for part in (q, k))
    looked = (q @ k.transpose(2, 3) / 72**0.5).softmax(-1).mean((0, 2)).view(3, rows, columns)
    assert looked[0, :, -1].sum() > 0.9
    assert looked[1, -1].sum() > 0.9
    assert looked[2].max() < 0.5


def test_stencils_give_the_latents_of_drawn_pictures() -> None:
    rng = random.Random(0)
    stencils = Stencils(128, 96)
    scenes = [_in_the_middle_of_its_ranges(random_scene(rng)) for _ in range(12)]
    drawn = [
        torch.from_numpy(np.asarray(draw(scene, 128, 96), dtype=np.float32) / 127.5 - 1)
        for scene in scenes
    ]
    right = patch_means(torch.stack(drawn).permute(0, 3, 1, 2))
    assert relative_error(stencils.latents(scenes), right) < 0.02


def _in_the_middle_of_its_ranges(scene: Scene) -> Scene:
    return replace(
        scene, x=mean(PLACES[scene.place]), y=mean(PLACES["centre"]), radius=mean(SIZES[scene.size])
    )


def test_what_a_shape_covers_is_known() -> None:
    scenes = [Scene(shape, "red", "blue", size="large") for shape in SHAPES]
    covered = Stencils(128, 96).covered[[form_of(scene) for scene in scenes]]
    assert covered.shape == (len(SHAPES), 1, 12, 16)
    assert (covered.amax((1, 2, 3)) == 1).all()
    assert (covered[:, 0, 0] == 0).all()
    circle = math.pi * (96 * mean(SIZES["large"])) ** 2
    assert covered[0].sum().item() * 64 == pytest.approx(circle, rel=0.01)


def test_what_tells_shapes_apart_is_known() -> None:
    stencils = Stencils(256, 192)
    large, left, small = (
        stencils.contested[form_of(Scene("star", "red", "blue", size=size, place=place))][0]
        for size, place in (("large", ""), ("large", "left"), ("small", ""))
    )
    assert large.shape == (24, 32)
    assert [large[0, 0], large[12, 16]] == [0, 0]
    # The corner of a square, which no circle has.
    assert large[12 - 6, 16 - 6] == 1
    assert left[:, :16].sum() > large[:, :16].sum()
    assert small.sum() < large.sum()
    assert stencils.contested_anywhere[12 - 6, 16 - 6] > stencils.contested_anywhere[0, 0]


def _batch(captioner: Captioner, **changes: float) -> Batch:
    torch.manual_seed(0)
    stage = replace(STAGE, **changes)  # type: ignore[arg-type]
    return Lessons(0, captioner).batch(stage, Lesson((SMALL,), 1.0, 64), SMALL)


def test_the_right_noise_always_leads_to_the_right_picture(captioner: Captioner) -> None:
    """Where a caption names everything, whatever shows."""
    words = {"empty": 0.0, "partial": 0.0}
    right = _batch(captioner, misled=0.0, **words)
    for changes in ({"misled": 1.0}, {"hidden": 1.0}):
        other = _batch(captioner, **changes, **words)
        assert torch.equal(other.timesteps, right.timesteps)
        first, second = (
            (b.noisy - (1 - b.alphas).sqrt() * b.noise) / b.alphas.sqrt() for b in (right, other)
        )
        assert not torch.allclose(other.noisy, right.noisy)
        assert torch.allclose(first, second, atol=2e-3)
    assert _batch(captioner, hidden=1.0).noisy.abs().max() == 0


def test_without_words_what_shows_decides(captioner: Captioner) -> None:
    """Clear pictures are themselves; where nothing shows, the mean of all is right."""
    shown = _batch(captioner, empty=1.0, overdone=0.0)
    found = (shown.noisy - (1 - shown.alphas).sqrt() * shown.noise) / shown.alphas.sqrt()
    clear = shown.alphas.flatten() > 0.5
    assert clear.sum() > 10
    assert shown.noise[clear].std().item() == pytest.approx(1, abs=0.02)
    spread = found.std((1, 2, 3))
    assert spread[~clear].min() < 0.3 < spread[clear].mean()
    hidden = _batch(captioner, empty=1.0, hidden=1.0)
    means = -(1 - hidden.alphas).sqrt() * hidden.noise / hidden.alphas.sqrt()
    everything = Lessons(0, captioner).expectation(
        SMALL, torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, 1, 1), [{}]
    )
    assert torch.allclose(means, everything.latents.expand_as(means), atol=2e-3)


def test_where_it_is_too_late_to_draw_anew_what_shows_is_right(captioner: Captioner) -> None:
    late, free = (_batch(captioner, kept=kept, overdone=0.0) for kept in (1.0, 0.0))
    assert late.timesteps.max() < 60 < free.timesteps.max()
    shown, asked = (
        (b.noisy - (1 - b.alphas).sqrt() * b.noise) / b.alphas.sqrt() for b in (late, free)
    )
    assert (shown - asked).abs().amax((1, 2, 3)).gt(0.5).all()
    # Nothing but noise lies between what is seen and what is right.
    assert late.noise.std().item() == pytest.approx(1, abs=0.02)


def test_captions_may_be_empty_or_leave_something_open(captioner: Captioner) -> None:
    batch = _batch(captioner, empty=0.5, partial=0.0)
    assert 15 < (batch.mask.sum(1) == 1).sum() < 49
    assert (_batch(captioner, empty=0.0).mask.sum(1) > 1).all()
    complete = Lesson((SMALL,), 1.0, 64, is_complete=True)
    stage = replace(STAGE, empty=1.0)
    assert (Lessons(0, captioner).batch(stage, complete, SMALL).mask.sum(1) > 1).all()


def test_no_lesson_shows_what_is_kept_out(captioner: Captioner) -> None:
    rng = random.Random(0)
    shown = {(s.shape, s.colour, s.ground) for s in (random_scene(rng) for _ in range(4000))}
    assert not shown & UNSEEN
    assert len(shown) == 224 - len(UNSEEN)


def test_what_a_caption_names_is_known() -> None:
    scene = Scene("star", "red", "blue", size="small", place="left")
    everything = {
        **{"shape": "star", "colour": "red", "ground": "blue"},
        **{"size": "small", "place": "left"},
    }
    assert all(scene.named(template) == everything for template in TEMPLATES)
    for template in PARTIAL_TEMPLATES:
        named = scene.named(template)
        assert named.items() < everything.items()
        assert all(word in scene.caption(template) for word in named.values())


def test_what_words_leave_open_is_mostly_in_the_middle() -> None:
    rng = random.Random(0)
    scene = Scene("star", "red", "blue", radius=0.206, size="small", x=0.28, place="left")
    assert settled(scene, {"size", "place"}, rng) == scene
    drawn = [settled(scene, {"size"}, rng) for _ in range(1000)]
    assert {other.size for other in drawn} == {"small"}
    moved = [other for other in drawn if other != scene]
    assert 0.96 < len(moved) / len(drawn) < 1
    assert all(other.place == "" and abs(other.x - 0.5) <= 0.002 for other in moved)
    grown = {other.radius for other in (settled(scene, {"place"}, rng) for _ in range(50))}
    assert all(radius == 0.206 or 0.264 <= radius <= 0.266 for radius in grown)
    assert len(grown) > 2


def test_t5_learns_to_read_before_anything_is_drawn(captioner: Captioner) -> None:
    torch.manual_seed(0)
    encoder = train_reader(RECIPE, captioner, CPU)
    rng = random.Random(1)
    tokens, names = [], []
    for _ in range(60):
        scene = random_scene(rng)
        ids, mask = captioner.rows([captioner.caption(scene, partial=False)])
        tokens.append(encoder(input_ids=ids, attention_mask=mask).last_hidden_state.mean(1)[0])
        names.append(scene.colour)
    means = {name: torch.stack([t for t, n in zip(tokens, names, strict=True) if n == name]).mean(0)
             for name in set(names)}  # fmt: skip
    nearest = [min(means, key=lambda n: float((token - means[n]).norm())) for token in tokens]
    assert sum(a == b for a, b in zip(nearest, names, strict=True)) > 40


def test_tokens_that_are_looked_at_are_where_shapes_differ(
    captioner: Captioner, text: T5EncoderModel
) -> None:
    own = trainer(captioner, text)
    size = PictureSize(128, 128)
    chosen = torch.stack([own._tokens(size, 20) for _ in range(50)])
    assert (chosen[:, -1] == 63).all()
    assert (chosen.diff(dim=1) > 0).all()
    counts = torch.bincount(chosen[:, :-1].flatten(), minlength=64).view(8, 8)
    assert counts[2:6, 2:6].float().mean() > 2 * counts[0].float().mean()
    assert own._tokens(size, 0).tolist() == list(range(64))


def test_some_tokens_alone_are_drawn_as_among_all(
    captioner: Captioner, text: T5EncoderModel
) -> None:
    own = trainer(captioner, text)
    batch = _batch(captioner)
    context = own.pair.context(batch.ids, batch.mask)
    with torch.no_grad():
        everything, _, _ = own._predict(batch, context, torch.arange(16))
        whole = own.pair(batch.noisy, batch.timesteps, batch.ids, batch.mask)
    patches = whole.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 4, 5, 1).flatten(1, 2)
    assert relative_error(everything, patches) < 1e-5


def shown_latents(own: Trainer, scenes: list[Scene]) -> torch.Tensor:
    return own.lessons.stencils(SMALL).latents(scenes)


def test_the_denoiser_learns_to_mend_what_it_drew(
    captioner: Captioner, text: T5EncoderModel, tmp_path: Path
) -> None:
    own = trainer(captioner, text)
    drawn = draw_round(own, RECIPE.mending_sets, random.Random(0))
    assert [len(part) for part in drawn] == [1, 2, 1]
    first = drawn[0][0]
    assert first.course.end.shape == (3, 4, 8, 8)
    assert first.course.states.shape == (3, 20, 4, 8, 8)
    assert not torch.equal(first.course.end, first.course.states[:, -1])
    # Late in the steps: what was asked for is right, or else what shows.
    shown = [Scene("star", "blue", "white")] * 4
    alphas = torch.full((4, 1, 1, 1), 0.99)
    for part, size in ((first, 3), (drawn[2][0], 4)):
        right, _ = _right(own, part, part.scenes, shown_latents(own, shown)[:size], alphas[:size])
        meant = shown if part.part.is_wordless else part.scenes
        assert torch.allclose(right, shown_latents(own, meant[:size]), atol=1e-3)
    before = own.average.transformer.final_layer.linear.weight.clone()
    state = tmp_path / "mending.pt"
    looks: list[int] = []

    def look(pair: Pair, step: int) -> None:
        looks.append(step - own.total)
        if looks == [1, 2, 3]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mend(own, state, look)
    again = mend(trainer(captioner, text), state, look)
    # The third step was in a round that had not ended.
    assert looks == [1, 2, 3, 3, 4, 5]
    whole = mend(trainer(captioner, text), tmp_path / "whole.pt", lambda *_: None)
    after = again.transformer.final_layer.linear.weight
    assert torch.isfinite(after).all()
    assert not torch.equal(after, before)
    assert torch.equal(whole.transformer.final_layer.linear.weight, after)
    mend(trainer(captioner, text), state, look)
    assert looks == [1, 2, 3, 3, 4, 5]
