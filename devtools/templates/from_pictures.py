"""Templates that begin with a picture, or have parts or passes."""

from __future__ import annotations

from pixart_core.resolution import ASPECTS

from . import files
from .graph import Template
from .studio import Studio, about


def image_to_image() -> Template:
    """Show a picture to begin with."""
    template = Template(
        "image_to_image",
        about(
            "From a picture",
            "*Denoise* says how much is drawn anew: 0.3 keeps nearly all, 0.7 little more than "
            "the layout. The picture is scaled to a trained size of its own shape.",
            *(files.SIGMA_1024, files.T5, files.VAE_SIGMA),
        ),
    )
    studio = Studio(template, files.SIGMA_1024, files.VAE_SIGMA, variant="sigma-1024")
    picture = template.add("LoadImage", image="example.png")
    size = template.add(
        "PixArtResolution",
        **{"width": 1024, "height": 1024, "batch_size": 1, "sizing": "like the image"},
        **{"model": studio.model, "image": picture[0]},
    )
    scale = {"upscale_method": "lanczos", "crop": "center"}
    scaled = template.add("ImageScale", image=picture[0], width=size[1], height=size[2], **scale)
    latent = template.add("VAEEncode", pixels=scaled[0], vae=studio.vae)
    studio.save(studio.sample(latent[0], denoise=0.5))
    return template


def inpainting() -> Template:
    """Show how a masked part is drawn anew."""
    template = Template(
        "inpainting",
        about(
            "A part of a picture anew",
            "Paint the part over: right click on the picture, *Open in MaskEditor*. What lies "
            "outside stays as it was.",
            *(files.SIGMA_1024, files.T5, files.VAE_SIGMA),
        ),
    )
    studio = Studio(template, files.SIGMA_1024, files.VAE_SIGMA, variant="sigma-1024")
    picture = template.add("LoadImage", image="example.png")
    latent = template.add("VAEEncode", pixels=picture[0], vae=studio.vae)
    grown = template.add("GrowMask", mask=picture[1], expand=6, tapered_corners=True)
    masked = template.add("SetLatentNoiseMask", samples=latent[0], mask=grown[0])
    studio.save(studio.sample(masked[0]))
    return template


def hires() -> Template:
    """Show two passes, the second larger."""
    template = Template(
        "hires_pass",
        about(
            "Larger by a second pass",
            "The first pass draws at 1024 px, which the model knows best. The second begins from "
            "it, half as large again, and draws the details.",
            *(files.SIGMA_1024, files.T5, files.VAE_SIGMA),
        ),
    )
    studio = Studio(template, files.SIGMA_1024, files.VAE_SIGMA, variant="sigma-1024")
    first = studio.sample(studio.size(), "First pass")
    scale = {"upscale_method": "bislerp", "scale_by": 1.5}
    larger = template.add("LatentUpscaleBy", samples=first, **scale)
    studio.save(studio.sample(larger[0], "Second pass", denoise=0.45))
    return template


def regional() -> Template:
    """Show a prompt for each half."""
    template = Template(
        "regional_prompts",
        about(
            "Prompts for parts of the picture",
            "A prompt for all, one for the left half and one for the right.",
            *(files.SIGMA_1024, files.T5, files.VAE_SIGMA),
        ),
    )
    studio = Studio(
        template,
        *(files.SIGMA_1024, files.VAE_SIGMA),
        variant="sigma-1024",
        prompt="A wide landscape painting",
    )
    sides = [
        ("Left", "a snowy mountain in winter", 0.0),
        ("Right", "a sunny beach with palm trees", 0.5),
    ]
    parts = [
        template.add(
            "ConditioningSetAreaPercentage",
            **{"conditioning": studio.prompt(text, side), "strength": 1.0},
            **{"width": 0.5, "height": 1.0, "x": x, "y": 0.0},
        )[0]
        for side, text, x in sides
    ]
    combined = studio.positive
    for part in parts:
        both = {"conditioning_1": combined, "conditioning_2": part}
        combined = template.add("ConditioningCombine", **both)[0]
    wide = next(aspect for aspect in ASPECTS if aspect.startswith("16:9"))
    studio.save(studio.sample(studio.size(aspect=wide), positive=combined))
    return template


def controlnet() -> Template:
    """Show how the edges of a picture are followed."""
    template = Template(
        "controlnet_hed",
        about(
            "Following the edges of a picture",
            "The ControlNet of PixArt-δ was trained on HED edges. The VAE must be connected to "
            "*Apply ControlNet*. The base model is alpha-1024; the one inside the ControlNet's "
            "file is not used.",
            *(files.ALPHA_1024, files.T5, files.VAE_ALPHA, files.CONTROLNET, files.HED),
        ),
    )
    studio = Studio(template, files.ALPHA_1024, files.VAE_ALPHA, variant="alpha-1024")
    picture = template.add("LoadImage", image="example.png")
    size = template.add(
        "PixArtResolution",
        **{"width": 1024, "height": 1024, "batch_size": 1, "sizing": "like the image"},
        **{"model": studio.model, "image": picture[0]},
    )
    edges = template.add("PixArtHED", image=picture[0], file=files.HED)
    net = template.add("PixArtControlNetLoader", file=files.CONTROLNET)
    applied = template.add(
        "ControlNetApplyAdvanced",
        **{"positive": studio.positive, "negative": studio.negative, "control_net": net[0]},
        **{"image": edges[0], "vae": studio.vae},
        **{"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0},
    )
    studio.save(studio.sample(size[0], positive=applied[0], negative=applied[1]))
    return template
