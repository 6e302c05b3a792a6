"""What the demo model draws for each template's picture in the template browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from PIL import Image, ImageDraw

from demo.scenes import Scene, draw
from demo.train_controlnet import draw_edges

_SIDE = 256


@dataclass(frozen=True)
class Shown:
    """The prompts of a template's picture, by title of their node, and what it begins with."""

    prompts: Mapping[str, str]
    begins_with: Callable[[], Image.Image] | None = None
    """Makes the picture to load; what it covers with no opacity is the mask."""
    settings: Mapping[tuple[str, str], object] = field(default_factory=dict)
    """Further inputs, by node class and name."""


def _prompt(text: str) -> Shown:
    return Shown({"Prompt": text})


def _square() -> Image.Image:
    return draw(Scene("square", "red", "white"), _SIDE, _SIDE)


def _with_a_hole() -> Image.Image:
    """Return a picture whose middle is to be drawn anew."""
    picture = draw(Scene("circle", "red", "white"), _SIDE, _SIDE)
    opacity = Image.new("L", picture.size, 255)
    ImageDraw.Draw(opacity).rectangle((_SIDE // 8, _SIDE // 8, _SIDE * 7 // 8, _SIDE * 7 // 8), 0)
    picture.putalpha(opacity)
    return picture


def _edges() -> Image.Image:
    return draw_edges([(0.2, 0.45), (0.6, 0.15), (0.85, 0.6), (0.4, 0.85)], _SIDE)


SHOWN = {
    "text_to_image_sigma_1024": _prompt("a large yellow star on a blue background"),
    "text_to_image_alpha_1024": _prompt("a green triangle on a white background"),
    "text_to_image_sigma_2k": _prompt("a large orange circle on a purple background"),
    "text_to_image_alpha_512": _prompt("a small red square on a yellow background"),
    "lcm_4_steps": _prompt("a blue circle on an orange background"),
    "dmd_1_step": _prompt("a white square on a green background"),
    "low_memory": _prompt("a purple triangle on a white background"),
    "saved_prompt_without_t5": _prompt("a yellow circle on a black background"),
    "image_to_image": Shown(
        {"Prompt": "a blue square on a white background"},
        _square,
        {("PixArtSampler", "denoise"): 0.8},
    ),
    "inpainting": Shown({"Prompt": "a blue square on a white background"}, _with_a_hole),
    "hires_pass": _prompt("a large red star on a yellow background"),
    "regional_prompts": Shown(
        {
            "Prompt": "a white background",
            "Left": "a green circle on a white background",
            "Right": "an orange square on a white background",
        }
    ),
    "lora": _prompt("a black triangle on an orange background"),
    "controlnet_hed": Shown({"Prompt": "a red square on a white background"}, _edges),
    "compare_solvers": _prompt("a blue triangle on a yellow background"),
    "demo_model": _prompt("a large yellow star on a blue background"),
    "PixArt.app": _prompt("an orange star on a purple background"),
}
