"""The graph that opens as an app: a form and a gallery, as PixArt's demo pages have them."""

from __future__ import annotations

from . import files
from .graph import App, Template
from .studio import NEGATIVE, PROMPT, Studio, about

_NO_STYLE = "(No style)"


def app() -> Template:
    """Show prompt, style, aspect, count, steps, guidance and seed, and the pictures."""
    template = Template(
        "PixArt.app",
        about(
            "PixArt, the app",
            "A form instead of a graph. The graph below it is an ordinary one: leave the app mode "
            "to see it.",
            *(files.SIGMA_1024, files.T5, files.VAE_SIGMA),
        ),
    )
    style = template.add("PixArtStyle", prompt=PROMPT, negative=NEGATIVE, style=_NO_STYLE)
    studio = Studio(
        template,
        *(files.SIGMA_1024, files.VAE_SIGMA),
        variant="sigma-1024",
        prompt=style[0],
        negative=style[1],
    )
    latent = studio.size(batch_size=2)
    drawn = studio.sample(latent)
    gallery = studio.save(drawn)
    size, sampler = latent.node, drawn.node
    template.app = App(
        inputs=(
            *((style, name) for name in ("prompt", "negative", "style")),
            *((size, name) for name in ("aspect", "batch_size")),
            *((sampler, name) for name in ("steps", "guidance", "seed")),
        ),
        outputs=(gallery,),
    )
    return template
