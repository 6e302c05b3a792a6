"""Train the demo model from nothing: ``python -m demo.train --out DIR --tokenizer DIR``.

Four stages (autoencoder, latents, denoiser with T5, its mending), each kept in ``--work``: a killed
run goes on with the stage that it was in, and within the denoiser's at its last save. Deterministic
for a seed as far as torch is.
"""

from __future__ import annotations

import argparse
import copy
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from pixart_core.network.positions import position_grid

from .captions import Captioner, load_tokenizer, pad_rows
from .denoiser import Pair, Pictures, Trainer, course
from .drawn import draw_sets
from .judge import judge
from .mending import mend
from .recipe import BUCKETS, DRAWN, NETWORK, SMALL, TRAINED_SIDE, Recipe
from .scenes import SEEN, UNSEEN, Scene, random_scene
from .vae import host_layout, latents_of, restored_pictures, train_vae

DENOISER, TEXT_ENCODER, VAE = (
    "pixart-demo.safetensors",
    "t5-demo.safetensors",
    "vae-demo.safetensors",
)
"""Names of the three files, in the host's folders diffusion_models, text_encoders and vae."""

_SHEET_SIDES = (128, 256)
"""Sides in pixels of the pictures on a sample sheet."""
_SHEET_SCENES = 16
"""How many there are of each side; a quarter shows combinations that training leaves out."""


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
    """Run all stages and write the three files to ``out``."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vae = _vae(recipe, work / "vae.safetensors", device)
    small, *buckets = _pictures(recipe, work / "latents.safetensors")
    _restored_sheet(vae, small).save(work / "vae.png")
    captioner = Captioner(load_tokenizer(tokenizer_folder), recipe)

    def look(pair: Pair, step: int) -> None:
        for side in _SHEET_SIDES:
            sheet = _sheet(copy.deepcopy(pair).cpu(), vae, captioner, side, step)
            sheet.save(work / f"step-{step:05}-{side}.png")

    trainer = Trainer(recipe, captioner, device)
    trainer.run(small, buckets, work / "denoiser.pt", look)
    _mend(trainer, small, buckets, work / "mended.pt", look)
    _write(trainer.average.cpu(), vae, out)


def _mend(
    trainer: Trainer,
    small: Pictures,
    buckets: list[Pictures],
    kept: Path,
    look: Callable[[Pair, int], None],
) -> None:
    """Let the denoiser learn from what it draws."""
    rng = random.Random(f"drawn {trainer.recipe.seed}")
    if kept.exists():
        trainer.average.load_state_dict(torch.load(kept, weights_only=True))
        return
    mend(
        trainer,
        small,
        buckets,
        lambda: draw_sets(trainer.average, trainer.captioner, DRAWN, rng),
        lambda steps: look(trainer.average, trainer.total + steps),
    )
    torch.save(trainer.average.state_dict(), kept)


def _vae(recipe: Recipe, path: Path, device: torch.device) -> AutoencoderTiny:
    if not path.exists():
        save_file(train_vae(recipe, device).state_dict(), path)
    vae = AutoencoderTiny()
    vae.load_state_dict(load_file(path))
    return vae.eval()


def _pictures(recipe: Recipe, path: Path) -> list[Pictures]:
    """Return the small pictures, then those of each bucket, drawn once and kept."""
    rng = random.Random(recipe.seed)
    sets = (SMALL, *BUCKETS)
    scenes = [[random_scene(rng) for _ in range(part.count)] for part in sets]
    if not path.exists():
        latents = {
            f"{part.width}x{part.height}": latents_of(own, part.width, part.height)
            for part, own in zip(tqdm(sets, desc="latents"), scenes, strict=True)
        }
        save_file(latents, path)
    kept = load_file(path)
    return [
        Pictures(own, kept[f"{part.width}x{part.height}"])
        for part, own in zip(sets, scenes, strict=True)
    ]


def _sheet(
    pair: Pair, vae: AutoencoderTiny, captioner: Captioner, side: int, step: int
) -> Image.Image:
    scenes = _sheet_scenes()
    rows = [captioner.tokenizer(text)["input_ids"] for text in [*(s.caption() for s in scenes), ""]]
    drawn = course(pair, *pad_rows(rows), (side, side)).end
    pictures = _images(restored_pictures(vae, drawn))
    pairs = [(judge(picture), scene) for picture, scene in zip(pictures, scenes, strict=True)]
    right = {
        "colours": sum(verdict.has_colours_of(scene) for verdict, scene in pairs),
        "shape too": sum(verdict.matches(scene) for verdict, scene in pairs),
        "size": sum(verdict.has_size_of(scene) for verdict, scene in pairs),
        "place": sum(verdict.has_place_of(scene) for verdict, scene in pairs),
    }
    figures = ", ".join(f"{name} {count}" for name, count in right.items())
    print(f"\nstep {step}, {side} px: of {len(pairs)} {figures}", flush=True)
    return _tile(pictures)


def _sheet_scenes() -> list[Scene]:
    rng = random.Random("sheet")
    unseen = rng.sample(sorted(UNSEEN), _SHEET_SCENES // 4)
    seen = rng.sample(SEEN, _SHEET_SCENES - len(unseen))
    return [random_scene(rng, combination) for combination in (*seen, *unseen)]


def _restored_sheet(vae: AutoencoderTiny, pictures: Pictures) -> Image.Image:
    latents = pictures.latents[: 2 * _SHEET_SCENES].float()
    print("latents: mean", latents.mean((0, 2, 3)), "deviation", latents.std((0, 2, 3)))
    return _tile(_images(restored_pictures(vae, latents)))


def _images(pixels: Tensor) -> list[Image.Image]:
    return [Image.fromarray(p) for p in (pixels.numpy() * 255).round().astype(np.uint8)]


def _tile(pictures: list[Image.Image], columns: int = 8) -> Image.Image:
    side = pictures[0].width
    sheet = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * side))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * side, i // columns * side))
    return sheet


def _write(pair: Pair, vae: AutoencoderTiny, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    side = TRAINED_SIDE // 8 // NETWORK.patch_size
    grid = position_grid(
        side, side, NETWORK.hidden_size, NETWORK.position_range, torch.device("cpu")
    )
    denoiser = {**pair.transformer.state_dict(), "pos_embed": grid[None]}
    text = {k: v for k, v in pair.text.state_dict().items() if k != "encoder.embed_tokens.weight"}
    for name, tensors in ((DENOISER, denoiser), (TEXT_ENCODER, text), (VAE, host_layout(vae))):
        save_file({k: v.half().contiguous() for k, v in tensors.items()}, out / name)


if __name__ == "__main__":
    main()
