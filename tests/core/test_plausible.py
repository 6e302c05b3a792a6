"""What tells a picture from noise, from nothing and from burnt colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from demo.scenes import Scene, draw
from devtools.verify.plausible import faults_of, share_of_colour, statistics_of

LATENT = torch.randn(1, 4, 16, 16, generator=torch.manual_seed(0))
CIRCLE = draw(Scene("circle", "red", "blue"), 128, 128)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8))
GREY = Image.new("RGB", (128, 128), (120, 120, 120))
BURNT = draw(Scene("circle", "white", "black"), 128, 128).point(lambda level: 255 * (level > 127))
BURNT = Image.merge("RGB", [BURNT.getchannel(0)] * 3)


def test_a_picture_is_plausible() -> None:
    assert faults_of(CIRCLE, LATENT, 1.0, ("red", "blue")) == []


@pytest.mark.parametrize(
    ("picture", "fault"), [(NOISE, "noise"), (GREY, "contrast"), (BURNT, "burnt")]
)
def test_what_is_none_is_found_out(picture: Image.Image, fault: str) -> None:
    (found,) = faults_of(picture, LATENT, 1.0)
    assert fault in found


def test_a_missing_colour_is_found_out() -> None:
    (found,) = faults_of(CIRCLE, LATENT, 1.0, ("red", "green"))
    assert "hardly any green" in found
    assert share_of_colour(CIRCLE, "red") > 0.1
    assert share_of_colour(CIRCLE, "green") == 0


@pytest.mark.parametrize(
    ("latent", "fault"),
    [
        (LATENT * float("nan"), "not finite"),
        (LATENT * float("inf"), "not finite"),
        (LATENT * 10, "deviation is 10"),
        (LATENT * 0, "deviation is 0.00"),
    ],
)
def test_a_latent_that_is_none_is_found_out(latent: torch.Tensor, fault: str) -> None:
    (found,) = faults_of(CIRCLE, latent, 1.0)
    assert fault in found


def test_the_scale_is_the_models() -> None:
    assert faults_of(CIRCLE, LATENT / 0.13, 0.13) == []
    assert faults_of(CIRCLE, LATENT / 0.13, 1.0)


def test_smoothness_tells_noise_from_a_picture() -> None:
    assert abs(statistics_of(NOISE).smoothness) < 0.1
    assert statistics_of(CIRCLE).smoothness > 0.9
