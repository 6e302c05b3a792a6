"""Templates that begin with words alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixart_core.resolution import ASPECTS, BY_ASPECT, EXACT

from . import files
from .files import ModelFile
from .graph import Template
from .studio import Studio, about


def _text_to_image(
    name: str,
    title: str,
    text: str,
    model: ModelFile,
    vae: ModelFile,
    settings: Mapping[str, Any] | None = None,
    **loading: Any,
) -> Template:
    template = Template(name, about(title, text, model, files.T5, vae))
    studio = Studio(template, model, vae, **loading)
    studio.save(studio.sample(studio.size(), **(settings or {})))
    return template


def alpha_1024() -> Template:
    """Show PixArt-alpha at 1024 px."""
    return _text_to_image(
        "text_to_image_alpha_1024",
        "PixArt-α, 1024 px",
        "The first PixArt at full size. It is told the size of the picture that it draws.",
        *(files.ALPHA_1024, files.VAE_ALPHA),
        variant="alpha-1024",
    )


def alpha_512() -> Template:
    """Show PixArt-alpha at 512 px."""
    return _text_to_image(
        "text_to_image_alpha_512",
        "PixArt-α, 512 px",
        "A quarter of the pixels, a fifth of the time.",
        *(files.ALPHA_512, files.VAE_ALPHA),
        variant="alpha-512",
    )


def sigma_1024() -> Template:
    """Show PixArt-Sigma at 1024 px."""
    return _text_to_image(
        "text_to_image_sigma_1024",
        "PixArt-Σ, 1024 px",
        "The better one of the two: prompts of 300 tokens, and another VAE (SDXL's).",
        *(files.SIGMA_1024, files.VAE_SIGMA),
        variant="sigma-1024",
    )


def sigma_2k() -> Template:
    """Show PixArt-Sigma at 2K."""
    return _text_to_image(
        "text_to_image_sigma_2k",
        "PixArt-Σ, 2K",
        "Four million pixels in one go. If the card is too small to decode them, put *VAE Decode "
        "(Tiled)* in the place of *VAE Decode*.",
        *(files.SIGMA_2K, files.VAE_SIGMA),
        variant="sigma-2k",
    )


def lcm() -> Template:
    """Show the model distilled to four steps."""
    return _text_to_image(
        "lcm_4_steps",
        "PixArt-LCM, 4 steps",
        "Distilled to four steps without guidance, so the negative prompt is not read. The file is "
        "called `diffusion_pytorch_model.safetensors` where it lies: rename it.",
        *(files.LCM, files.VAE_ALPHA),
        variant="alpha-1024-lcm",
        settings={"steps": 4, "guidance": 1.0},
    )


def dmd() -> Template:
    """Show the model distilled to one step."""
    return _text_to_image(
        "dmd_1_step",
        "PixArt-DMD, 1 step",
        "Distilled to a single step without guidance, at 512 px. The file is called "
        "`diffusion_pytorch_model.bin` where it lies: rename it.",
        *(files.DMD, files.VAE_ALPHA),
        variant="alpha-512-dmd",
        settings={"steps": 1, "guidance": 1.0},
    )


def low_memory() -> Template:
    """Show T5 in 8 bits."""
    return _text_to_image(
        "low_memory",
        "Little memory: T5 in int8",
        "T5 is eight times the size of the model. Here it is made 8-bit while it is loaded, so "
        "that it takes 5 GB and not 9.5; ComfyUI can keep a part of it off the card. On a card "
        "that is still too small set *Device* to cpu.",
        *(files.SIGMA_1024, files.VAE_SIGMA),
        variant="sigma-1024",
        precision="int8 (offloadable)",
    )


def saved_prompt() -> Template:
    """Show encoded prompts, without T5."""
    template = Template(
        "saved_prompt_without_t5",
        about(
            "A saved prompt, without T5",
            "*Save PixArt Prompt* keeps an encoded prompt in `output/prompts`. This graph draws "
            "from two such files, and loads no T5 at all.",
            *(files.SIGMA_1024, files.VAE_SIGMA),
        ),
    )
    add = template.add
    loader = {"file": files.SIGMA_1024, "variant": "sigma-1024", "weight_dtype": "auto"}
    model = add("PixArtModelLoader", **loader)[0]
    vae = add("VAELoader", vae_name=files.VAE_SIGMA)[0]
    positive, negative = (
        add("PixArtLoadConditioning", title, file=f"{name}_00001.safetensors", model=model)[0]
        for title, name in (("Prompt", "prompt"), ("Negative prompt", "negative"))
    )
    size = {"width": 1024, "height": 1024, "batch_size": 1, "sizing": BY_ASPECT}
    latent = add("PixArtResolution", **size, aspect=ASPECTS[0], model=model)[0]
    given = {"seed": 0, "steps": 20, "guidance": 4.5, "solver": "auto", "denoise": 1.0}
    links = {"model": model, "positive": positive, "negative": negative, "latent_image": latent}
    drawn = add("PixArtSampler", **links, **given)[0]
    picture = add("VAEDecode", samples=drawn, vae=vae)[0]
    add("SaveImage", images=picture, filename_prefix="PixArt")
    return template


def lora() -> Template:
    """Show a LoRA on the model."""
    template = Template(
        "lora",
        about(
            "With a LoRA",
            "Put yours into `models/loras`: a file, or a folder with its `adapter_config.json`. "
            "Under the node stands what was found in it, and how strong it is.",
            *(files.ALPHA_1024, files.T5, files.VAE_ALPHA),
        ),
    )
    studio = Studio(template, files.ALPHA_1024, files.VAE_ALPHA, variant="alpha-1024")
    own = {"file": "my-pixart-lora.safetensors", "strength": 1.0}
    with_lora = template.add("PixArtLora", model=studio.model, **own)
    studio.save(studio.sample(studio.size(), model=with_lora[0]))
    return template


def compare_solvers() -> Template:
    """Show four solvers with one seed."""
    template = Template(
        "compare_solvers",
        about(
            "Solvers side by side",
            "The same prompt and seed, each solver with the steps that do it justice.",
            *(files.SIGMA_1024, files.T5, files.VAE_SIGMA),
        ),
    )
    studio = Studio(template, files.SIGMA_1024, files.VAE_SIGMA, variant="sigma-1024")
    latent = studio.size()
    for solver, steps in (("DPM-Solver++", 20), ("SA-Solver", 25), ("UniPC", 20), ("DDIM", 50)):
        drawn = studio.sample(latent, solver, solver=solver, steps=steps)
        studio.save(drawn, f"PixArt-{solver}")
    return template


def demo() -> Template:
    """Show the demo model of the repository."""
    template = Template(
        "demo_model",
        "## The demo model\n\nA tiny PixArt that lies in this pack's repository, in `demo/models`. "
        "It draws one circle, square, triangle or star, small or large, left, right or in the "
        "centre, in eight colours. Copy its three files into `diffusion_models`, "
        "`text_encoders` and `vae`; nothing is to be downloaded.\n\n"
        "`python dev.py host` opens an editor with them in place.",
    )
    studio = Studio(
        template,
        *(files.DEMO_MODEL, files.DEMO_VAE),
        t5=files.DEMO_T5,
        prompt="a large yellow star on a blue background",
        negative="",
    )
    size = {"sizing": EXACT, "width": 256, "height": 256}
    studio.save(studio.sample(studio.size(**size)))
    return template
