"""The demo model inside this process, with the host's classes around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from demo.trials import Trial
from devtools.inprocess import import_pack
from devtools.models import demo_models
from pixart_core.sampling.solvers import SOLVERS

GUIDANCE = 4.5


@dataclass(frozen=True)
class Prompts:
    """Some trials, encoded for pictures of 128 px."""

    trials: list[Trial]
    positive: Any
    negative: Any

    @property
    def empty(self) -> Tensor:
        """Latents without content, one for each trial."""
        return torch.zeros(len(self.trials), 4, 16, 16)


class DemoModel:
    """The three files, in fp32."""

    def __init__(self) -> None:
        import_pack()
        import comfy.sd
        import comfy.utils
        from pixart_pack.nodes.host import loading, text_encoder

        models = {folder: paths[0] for folder, paths in demo_models().items()}
        self.model = loading.load_model(models["diffusion_models"], "auto", "fp32").patcher
        self._clip = text_encoder.load_text_encoder(models["text_encoders"], "fp32", "cpu")
        self._vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(models["vae"])))

    @torch.inference_mode()
    def prompts(self, trials: Sequence[Trial]) -> Prompts:
        """Encode what the trials say, and the empty negative."""
        from pixart_pack.nodes.host.conditioning import encode_prompts

        texts = [trial.prompt for trial in trials]
        positive = encode_prompts(self._clip, texts, "auto", self.model).conditioning
        negative = encode_prompts(self._clip, [""], "auto", self.model).conditioning
        return Prompts(list(trials), positive, negative)

    @torch.inference_mode()
    def draw(self, prompts: Prompts, solver: str, steps: int, model: Any = None) -> Tensor:
        """Return what PixArt Sampler ends with, by this model or by one made of it."""
        from pixart_pack.nodes.host.sampler import Settings, sample

        seeds = ",".join(str(trial.seed) for trial in prompts.trials)
        guidance = GUIDANCE if SOLVERS[solver].guided else 1.0
        settings = Settings(0, steps, guidance, solver, 1.0, seeds)
        given = (prompts.positive, prompts.negative, {"samples": prompts.empty})
        out, _ = sample(self.model if model is None else model, *given, settings)
        found: Tensor = out["samples"]
        return found

    @torch.inference_mode()
    def pictures(self, latents: Tensor) -> list[Image.Image]:
        """Decode latents."""
        pixels = (self._vae.decode(latents) * 255).round().byte().numpy()
        return [Image.fromarray(picture) for picture in pixels]
