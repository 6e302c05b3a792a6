"""What most templates begin with."""

from __future__ import annotations

from typing import Any

from pixart_core.resolution import ASPECTS, BY_ASPECT

from . import files
from .files import ModelFile
from .graph import Link, Node, Template

PROMPT = (
    "A small cactus with a happy face in the Sahara desert, soft morning light, detailed photograph"
)
NEGATIVE = "blurry, low quality, watermark"
_HOW = (
    "1. Put the files into the folders that *Load …* shows in red, and press R.\n"
    "2. Write what you want to see.\n"
    "3. Run."
)


def about(title: str, text: str, *used: ModelFile) -> str:
    """Return the note of a template: what it is for, which files it needs, what to do."""
    lines = [f"## {title}", "", text, ""]
    if used:
        lines += ["| file | GB | folder in models |", "| -- | -- | -- |"]
        lines += [f"| [{f.name}]({f.url}) | {f.gigabytes:g} | {f.folder} |" for f in used]
        lines += [""]
    return "\n".join([*lines, _HOW])


class Studio:
    """A template begun with model, T5, prompts and VAE."""

    def __init__(
        self,
        template: Template,
        model: ModelFile | str,
        vae: ModelFile | str,
        *,
        variant: str = "auto",
        t5: ModelFile | str = files.T5,
        precision: str = "auto",
        prompt: str | Link = PROMPT,
        negative: str | Link = NEGATIVE,
    ) -> None:
        self.template = template
        add = template.add
        self.model = add("PixArtModelLoader", file=model, variant=variant, weight_dtype="auto")[0]
        self.clip = add("PixArtT5Loader", file=t5, precision=precision, device="auto")[0]
        self.vae = add("VAELoader", vae_name=vae)[0]
        self.positive = self.prompt(prompt, "Prompt")
        self.negative = self.prompt(negative, "Negative prompt")

    def prompt(self, text: str | Link, title: str) -> Link:
        """Add an encoded prompt."""
        inputs = {"clip": self.clip, "text": text, "cleaning": "auto", "model": self.model}
        return self.template.add("PixArtTextEncode", title, **inputs)[0]

    def size(self, **inputs: Any) -> Link:
        """Add an empty latent: by default the model's square."""
        given = {"sizing": BY_ASPECT, "aspect": ASPECTS[0], "width": 1024, "height": 1024}
        own = {**given, "batch_size": 1, **inputs}
        return self.template.add("PixArtResolution", model=self.model, **own)[0]

    def sample(self, latent: Link, title: str = "", **inputs: Any) -> Link:
        """Add a sampler."""
        given = {"seed": 0, "steps": 20, "guidance": 4.5, "solver": "auto", "denoise": 1.0}
        links = {"model": self.model, "positive": self.positive, "negative": self.negative}
        own = {**links, "latent_image": latent, **given, **inputs}
        return self.template.add("PixArtSampler", title, **own)[0]

    def decode(self, latent: Link) -> Link:
        """Add what makes a picture of a latent."""
        return self.template.add("VAEDecode", samples=latent, vae=self.vae)[0]

    def save(self, latent: Link, prefix: str = "PixArt") -> Node:
        """Add what decodes and saves."""
        return self.template.add("SaveImage", images=self.decode(latent), filename_prefix=prefix)
