"""Train the demo model from nothing: ``python -m demo.train --out DIR --tokenizer DIR``.

Five parts (autoencoder, T5, denoiser, its mending, the decoder's finishing), each but the last kept
in ``--work``: a killed run goes on with the part that it was in, and within the denoiser's two at
their last save. Deterministic for a seed as far as torch is.
"""

from __future__ import annotations

import argparse
import copy
import random
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import T5EncoderModel

from pixart_core.network.positions import position_grid

from .captions import Captioner, load_tokenizer
from .course import course
from .denoiser import Pair, Trainer
from .finishing import finish
from .judge import judge
from .lessons import Lessons
from .mending import mend
from .reading import train_reader
from .recipe import NETWORK, TEXT, TRAINED_SIDE, PictureSize, Recipe
from .scenes import SEEN, UNSEEN, Scene, random_scene
from .vae import host_layout, restored_pictures, train_vae

DENOISER, TEXT_ENCODER, VAE = (
    "pixart-demo.safetensors",
    "t5-demo.safetensors",
    "vae-demo.safetensors",
)
"""Names of the three files, in the host's folders diffusion_models, text_encoders and vae."""

_TIED = "encoder.embed_tokens.weight"
"""The same tensor as another one, and not written twice."""
_SHEETS = (PictureSize(128, 128), PictureSize(336, 192))
"""Sizes of the pictures on the sample sheets."""
_SHEET_SCENES = 16
"""How many there are of each size; a quarter shows combinations that training leaves out."""


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where the three files go")
    parser.add_argument("--work", type=Path, default=Path(".cache/demo-training"))
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of T5's tokenizer")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    train(Recipe(seed=chosen.seed), chosen.work, chosen.out, chosen.tokenizer)


def train(recipe: Recipe, work: Path, out: Path, tokenizer_folder: Path) -> None:
    """Run all parts and write the three files to ``out``."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    captioner = Captioner(load_tokenizer(tokenizer_folder), recipe)
    vae = _vae(recipe, work / "vae.safetensors", device)
    text = _text(recipe, captioner, work / "t5.safetensors", device)

    def look(pair: Pair, step: int) -> None:
        for size in _SHEETS:
            sheet = _sheet(copy.deepcopy(pair).cpu(), vae, captioner, size, step)
            sheet.save(work / f"step-{step:05}-{size.width}x{size.height}.png")

    trainer = Trainer(recipe, text, Lessons(recipe.seed, captioner), device)
    trainer.run(work / "denoiser.pt", look)
    average = mend(trainer, work / "mending.pt", look)
    finish(trainer, vae)
    _write(average.cpu(), vae, out)


def _text(recipe: Recipe, captioner: Captioner, path: Path, device: torch.device) -> T5EncoderModel:
    if not path.exists():
        encoder = train_reader(recipe, captioner, device)
        save_file({k: v for k, v in encoder.state_dict().items() if k != _TIED}, path)
    text = T5EncoderModel(TEXT)
    weights = load_file(path)
    text.load_state_dict({**weights, _TIED: weights["shared.weight"]})
    return text.eval().requires_grad_(False)


def _vae(recipe: Recipe, path: Path, device: torch.device) -> AutoencoderTiny:
    if not path.exists():
        save_file(train_vae(recipe, device).state_dict(), path)
    vae = AutoencoderTiny()
    vae.load_state_dict(load_file(path))
    return vae.eval()


def _sheet(
    pair: Pair, vae: AutoencoderTiny, captioner: Captioner, size: PictureSize, step: int
) -> Image.Image:
    scenes = _sheet_scenes()
    rows = [captioner.tokenizer(scene.caption())["input_ids"] for scene in scenes]
    drawn = course(pair, *captioner.pad([*rows, ()]), size).end
    pictures = _images(restored_pictures(vae, drawn))
    pairs = [(judge(picture), scene) for picture, scene in zip(pictures, scenes, strict=True)]
    right = {
        "colours": sum(verdict.has_colours_of(scene) for verdict, scene in pairs),
        "shape too": sum(verdict.matches(scene) for verdict, scene in pairs),
        "size": sum(verdict.has_size_of(scene) for verdict, scene in pairs),
        "place": sum(verdict.has_place_of(scene) for verdict, scene in pairs),
    }
    figures = ", ".join(f"{name} {count}" for name, count in right.items())
    print(f"\nstep {step}, {size.width} x {size.height}: of {len(pairs)} {figures}", flush=True)
    return _tile(pictures)


def _sheet_scenes() -> list[Scene]:
    rng = random.Random("sheet")
    unseen = rng.sample(sorted(UNSEEN), _SHEET_SCENES // 4)
    seen = rng.sample(SEEN, _SHEET_SCENES - len(unseen))
    return [random_scene(rng, combination) for combination in (*seen, *unseen)]


def _images(pixels: Tensor) -> list[Image.Image]:
    return [Image.fromarray(p) for p in (pixels.numpy() * 255).round().astype(np.uint8)]


def _tile(pictures: list[Image.Image], columns: int = 8) -> Image.Image:
    width, height = pictures[0].size
    sheet = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * width, i // columns * height))
    return sheet


def _write(pair: Pair, vae: AutoencoderTiny, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    side = TRAINED_SIDE // 8 // NETWORK.patch_size
    grid = position_grid(
        side, side, NETWORK.hidden_size, NETWORK.position_range, torch.device("cpu")
    )
    denoiser = {**pair.transformer.state_dict(), "pos_embed": grid[None]}
    text = {k: v for k, v in pair.text.state_dict().items() if k != _TIED}
    for name, tensors in ((DENOISER, denoiser), (TEXT_ENCODER, text), (VAE, host_layout(vae))):
        save_file({k: v.half().contiguous() for k, v in tensors.items()}, out / name)


if __name__ == "__main__":
    main()
