"""All templates."""

from __future__ import annotations

from collections.abc import Callable

from .app import app
from .from_pictures import controlnet, hires, image_to_image, inpainting, regional
from .from_text import (
    alpha_512,
    alpha_1024,
    compare_solvers,
    demo,
    dmd,
    lcm,
    lora,
    low_memory,
    saved_prompt,
    sigma_2k,
    sigma_1024,
)
from .graph import Template

TEMPLATES: tuple[Callable[[], Template], ...] = (
    *(sigma_1024, alpha_1024, sigma_2k, alpha_512, lcm, dmd, low_memory, saved_prompt),
    *(image_to_image, inpainting, hires, regional, lora, controlnet, compare_solvers, demo, app),
)
"""All of them, in the order of the README."""
