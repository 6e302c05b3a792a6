"""Train the demo's ControlNet: ``python -m demo.train_controlnet --out FILE --tokenizer DIR``.

It learns to fill the shapes whose edges it is shown, anywhere and of any size, in the colours that
the prompt names. The denoiser and T5 are the demo's own, and stay as they are.
"""

from __future__ import annotations

import argparse
import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm
from transformers import T5EncoderModel

from pixart_core.network import PixArtTransformer
from pixart_core.network.control import PixArtControl

from .captions import Captioner, load_tokenizer
from .recipe import NETWORK, TEXT, Recipe
from .scenes import COLOURS, Scene, random_scene, unit_outline
from .train import DENOISER, TEXT_ENCODER
from .vae import patch_means

_OVERSAMPLING = 4
_EDGE = 0.02
"""Width of the drawn edge as a share of the picture's side."""


@dataclass(frozen=True)
class ControlRecipe:
    """How the ControlNet is trained."""

    seed: int = 0
    depth: int = 3
    """How many blocks are copied."""
    side: int = 128
    pictures: int = 6000
    steps: int = 5000
    batch: int = 16
    rate: float = 6e-4
    warm_up: int = 100
    weight_limit: float = 100.0
    empty_captions: float = 0.2
    silent: float = 0.25
    """Share of captions that do not name the shape, so that the edges have to."""


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder of the demo's files")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of T5's tokenizer")
    parser.add_argument("--steps", type=int, default=ControlRecipe.steps)
    parser.add_argument("--start", type=Path, help="a file of an earlier run, to go on from")
    parser.add_argument("--seed", type=int, default=ControlRecipe.seed)
    chosen = parser.parse_args()
    recipe = ControlRecipe(steps=chosen.steps, seed=chosen.seed)
    branch = train(recipe, chosen.models, chosen.tokenizer, chosen.start)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in branch.state_dict().items()}, chosen.out)


def train(
    recipe: ControlRecipe, models: Path, tokenizer_folder: Path, start: Path | None = None
) -> PixArtControl:
    """Train the branch beside the frozen model and return it."""
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base, text = (part.to(device).eval().requires_grad_(False) for part in _frozen(models))
    branch = new_branch(base, recipe.depth).to(device)
    if start is not None:
        branch.load_state_dict({key: value.float() for key, value in load_file(start).items()})
    optimizer = torch.optim.AdamW(branch.parameters(), recipe.rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        recipe.rate,
        total_steps=recipe.steps,
        pct_start=min(0.3, recipe.warm_up / recipe.steps),
    )
    lesson = _Lesson(recipe, Captioner(load_tokenizer(tokenizer_folder), Recipe()))
    bar = tqdm(range(recipe.steps), desc="controlnet")
    for _ in bar:
        loss = lesson.loss(base, text, branch, device)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(branch.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}")
    return branch.cpu()


def new_branch(base: PixArtTransformer, depth: int) -> PixArtControl:
    """Copy the model's first blocks; what ties them to it starts at zero."""
    branch = PixArtControl(replace(base.config, depth=depth))
    for index in range(depth):
        own = branch.controlnet[index]
        own.get_submodule("copied_block").load_state_dict(base.blocks[index].state_dict())
        for name, parameter in own.named_parameters():
            if name.startswith(("before_proj", "after_proj")):
                nn.init.zeros_(parameter)
    return branch


def random_outline(rng: random.Random, shape: str) -> list[tuple[float, float]]:
    """Return a shape anywhere, of any size, turned: corners in shares of the picture's side."""
    radius, turn = rng.uniform(0.16, 0.36), rng.uniform(0, 2 * math.pi)
    reach = radius * max(math.hypot(*corner) for corner in unit_outline(shape)) + _EDGE
    x, y = (rng.uniform(reach, 1 - reach) for _ in range(2))
    cos, sin = radius * math.cos(turn), radius * math.sin(turn)
    return [(x + cos * u - sin * v, y + sin * u + cos * v) for u, v in unit_outline(shape)]


def draw_filled(
    outline: list[tuple[float, float]], colour: str, ground: str, side: int
) -> Image.Image:
    """Draw an outline filled with a colour."""
    large = side * _OVERSAMPLING
    image = Image.new("RGB", (large, large), COLOURS[ground])
    corners = [(x * large, y * large) for x, y in outline]
    ImageDraw.Draw(image).polygon(corners, fill=COLOURS[colour])
    return image.resize((side, side), Image.Resampling.BOX)


def draw_edges(outline: list[tuple[float, float]], side: int) -> Image.Image:
    """Draw an outline's edges, white on black."""
    large = side * _OVERSAMPLING
    image = Image.new("RGB", (large, large))
    corners = [(x * large, y * large) for x, y in (*outline, *outline[:2])]
    ImageDraw.Draw(image).line(corners, "white", round(_EDGE * large), joint="curve")
    return image.resize((side, side), Image.Resampling.BOX)


class _Lesson:
    """Pictures with their edges, and what is asked of the branch."""

    def __init__(self, recipe: ControlRecipe, captioner: Captioner) -> None:
        self.recipe, self.captioner = recipe, captioner
        self.rng = random.Random(recipe.seed)
        self.alphas = DPMSolverMultistepScheduler(
            beta_start=1e-4, beta_end=0.02, beta_schedule="linear"
        ).alphas_cumprod
        drawn = tqdm(range(recipe.pictures), desc="pictures")
        self.scenes, latents, hints = zip(*(self._example() for _ in drawn), strict=True)
        self.latents, self.hints = torch.stack(latents), torch.stack(hints)

    def _example(self) -> tuple[Scene, Tensor, Tensor]:
        scene = random_scene(self.rng)
        outline, side = random_outline(self.rng, scene.shape), self.recipe.side
        filled = draw_filled(outline, scene.colour, scene.ground, side)
        # Words for size and place would contradict the edges.
        told = replace(scene, size="", place="")
        return told, _latent(filled), _latent(draw_edges(outline, side))

    def loss(
        self,
        base: PixArtTransformer,
        text: T5EncoderModel,
        branch: PixArtControl,
        device: torch.device,
    ) -> Tensor:
        """Return the loss of a batch."""
        batch = self.recipe.batch
        empty = round(batch * self.recipe.empty_captions)
        chosen = self.rng.sample(range(len(self.scenes)), batch)
        told = [self._told(self.scenes[i]) for i in chosen[: batch - empty]]
        ids, mask = (part.to(device) for part in self.captioner(told, empty))
        x, hint = (part[chosen].to(device) for part in (self.latents, self.hints))
        noise = torch.randn_like(x)
        t = (len(self.alphas) * torch.rand(batch)).long()
        alpha = self.alphas[t].to(device)[:, None, None, None]
        noisy = alpha.sqrt() * x + (1 - alpha).sqrt() * noise
        context = text(input_ids=ids, attention_mask=mask).last_hidden_state
        given = (noisy, hint, t.to(device), context, mask)
        skips = branch(base, *given)
        predicted = base(noisy, t.to(device), context, mask, skips=skips)
        weight = (1 / alpha).clamp(max=self.recipe.weight_limit)
        return (weight * (predicted[:, : NETWORK.in_channels] - noise).square()).mean()

    def _told(self, scene: Scene) -> Scene:
        silent = self.rng.random() < self.recipe.silent
        return replace(scene, shape="shape") if silent else scene


def _frozen(models: Path) -> tuple[PixArtTransformer, T5EncoderModel]:
    transformer, text = PixArtTransformer(NETWORK), T5EncoderModel(TEXT)
    weights = {key: value.float() for key, value in load_file(models / DENOISER).items()}
    weights.pop("pos_embed")
    transformer.load_state_dict(weights)
    words = {key: value.float() for key, value in load_file(models / TEXT_ENCODER).items()}
    text.load_state_dict({**words, "encoder.embed_tokens.weight": words["shared.weight"]})
    return transformer, text


def _latent(picture: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 127.5 - 1)
    return patch_means(pixels.permute(2, 0, 1)[None])[0]


if __name__ == "__main__":
    main()
