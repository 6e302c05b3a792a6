"""What the demo's decoder learns last: pictures from the latents that the denoiser leaves."""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import torch
from diffusers import AutoencoderTiny
from transformers import T5EncoderModel

from demo.captions import Captioner, load_tokenizer
from demo.course import Course
from demo.denoiser import Trainer
from demo.finishing import drawn_crops, finish
from demo.lessons import Lessons
from demo.mending import Drawn
from demo.recipe import TEXT, DrawnSet, PictureSize, Recipe
from demo.scenes import Scene
from demo.vae import patch_means, to_tensor
from devtools.environment import host_folder

SET = DrawnSet((PictureSize(64, 64), PictureSize(128, 64)), draws=2, pictures=2)
RECIPE = Recipe(vae_batch=3, finishing_steps=3, finishing_sets=(SET,))
SCENES = [Scene("star", "blue", "white", radius=0.2), Scene("square", "blue", "black", x=0.3)]


def drawn(size: PictureSize) -> Drawn:
    """Return scenes as a denoiser without error would draw them."""
    pixels = torch.stack([to_tensor(scene, size.width, size.height) for scene in SCENES])
    end = patch_means(pixels)
    return Drawn(SCENES, size, Course(end[:, None], torch.zeros(1), end), SET)


def test_latents_lie_beside_the_pictures_that_they_are_of() -> None:
    rng = random.Random(0)
    pictures = [drawn(PictureSize(128, 128)), drawn(PictureSize(192, 96))]
    recipe = replace(RECIPE, vae_batch=60)
    latents, pixels, contrast = drawn_crops(pictures, rng, recipe)
    assert pixels.shape == (60, 3, recipe.vae_crop, recipe.vae_crop)
    assert contrast.shape == (60, 1, 1, 1)
    assert torch.allclose(patch_means(pixels), latents, atol=1e-5)
    assert len({tuple(crop.flatten().tolist()) for crop in latents}) > 20
    # Flat crops would teach nothing about outlines.
    assert (pixels.amax((2, 3)) - pixels.amin((2, 3))).amax(1).gt(0.5).float().mean() > 0.9


def test_the_decoder_learns_and_nothing_else() -> None:
    captioner = Captioner(
        load_tokenizer(host_folder() / "comfy" / "text_encoders" / "t5_tokenizer"), RECIPE
    )
    torch.manual_seed(0)
    text = T5EncoderModel(TEXT).eval().requires_grad_(False)
    trainer = Trainer(RECIPE, text, Lessons(RECIPE.seed, captioner), torch.device("cpu"))
    vae = AutoencoderTiny().eval()
    before, denoiser = copy.deepcopy(vae), copy.deepcopy(trainer.average.state_dict())
    finish(trainer, vae)
    for name, value in vae.state_dict().items():
        is_learned = not torch.equal(value, before.state_dict()[name])
        assert is_learned == name.startswith("decoder."), name
        assert torch.isfinite(value).all()
    assert not vae.decoder.training
    assert all(torch.equal(trainer.average.state_dict()[k], v) for k, v in denoiser.items())
