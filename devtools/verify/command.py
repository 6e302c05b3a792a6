"""``python dev.py verify``: draw a fixed sheet with your files, by three implementations.

Ours in the real ComfyUI, ComfyUI's own PixArt where it can, and diffusers; offline. What comes out
must be finite, look like pictures, and ours must agree with diffusers. Writes a page.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from devtools.failure import Failure
from pixart_core.checkpoint.opening import OpenedModel, open_model
from pixart_core.errors import PixArtError
from pixart_core.text.t5_file import open_t5

from . import by_diffusers
from .by_host import Drawn, HostArtist
from .graphs import Files
from .page import Row, write_page
from .plausible import faults_of
from .sheet import SHEET, Course

_MOST_DISTANCE = 0.1
"""Relative L2 of our final latents from diffusers', median: precisions of T5 and of the sampler
differ on a graphics card. In fp32 it is below 1e-4."""
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Chosen:
    """The command line."""

    model: Path
    t5: Path
    vae: Path
    variant: str
    side: int
    steps: int
    prompts: int
    t5_dtype: torch.dtype
    out: Path


def main(arguments: list[str]) -> int:
    """Draw, compare, write the page, and return 1 if something is not as it should be."""
    chosen = _chosen(arguments)
    try:
        model = open_model(chosen.model, chosen.variant)
        model.check_complete()
        quantised = bool(open_t5(chosen.t5).extras)
    except PixArtError as error:
        raise _unfit(error) from error
    course, items = _course(model, chosen), SHEET[: chosen.prompts]
    print(f"{model.name}: {model.info.variant.name}, by {model.info.ground}", flush=True)
    latents: list[Tensor | None] = [None] * len(items)
    if not quantised:
        latents = [*by_diffusers.draw(model, chosen.t5, items, course, chosen.t5_dtype)]
    with HostArtist(*_placed(chosen), model.info.variant.name, course) as artist:
        rows = [
            Row(item, artist.ours(item), artist.stock(item), artist.decoded(item, latent))
            for item, latent in zip(items, latents, strict=True)
        ]
    page = write_page(chosen.out, f"{model.name}, {model.info.variant.name}", rows, _machine())
    return _judge(rows, course, page)


def _chosen(arguments: list[str]) -> Chosen:
    parser = argparse.ArgumentParser(
        prog="dev.py verify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, required=True, help="PixArt file or diffusers folder")
    parser.add_argument("--t5", type=Path, required=True, help="T5 file or folder")
    parser.add_argument("--vae", type=Path, required=True, help="VAE file")
    parser.add_argument("--variant", default="auto", help="where the file does not tell")
    parser.add_argument("--side", type=int, default=0, help="pixels (default: the trained side)")
    parser.add_argument("--steps", type=int, default=0, help="(default: the variant's own)")
    parser.add_argument("--prompts", type=int, default=len(SHEET), help="how many of the sheet's")
    parser.add_argument(
        "--t5-dtype", choices=_DTYPES, default="fp32", help="diffusers' T5; bf16 takes half"
    )
    parser.add_argument("--out", type=Path, default=Path("out/verify"), help="folder of the page")
    given = vars(parser.parse_args(arguments))
    dtype = _DTYPES[given.pop("t5_dtype")]
    paths = {name: given.pop(name).absolute() for name in ("model", "t5", "vae")}
    for path in paths.values():
        if not path.exists():
            raise Failure(
                "Could not verify these files",
                found=f"nothing at {path}",
                expected="a file, or a folder as diffusers and transformers keep it",
                do="correct the path",
            )
    return Chosen(**paths, **given, t5_dtype=dtype)


def _placed(chosen: Chosen) -> tuple[dict[str, list[Path]], Files]:
    """Return the files by the host's folder, and their names there."""
    paths = (chosen.model, chosen.t5, chosen.vae)
    folders = ("diffusion_models", "text_encoders", "vae")
    placed = {folder: [path] for folder, path in zip(folders, paths, strict=True)}
    return placed, Files(*(path.name for path in paths))


def _unfit(error: PixArtError) -> Failure:
    return Failure(
        "Could not verify these files",
        found=f"one that the pack refuses (“{error}”)",
        expected="a whole PixArt model and a T5 that belongs to it",
        do="choose other files",
    )


def _course(model: OpenedModel, chosen: Chosen) -> Course:
    variant = model.info.variant
    return Course(
        side=chosen.side or variant.sample_size,
        steps=chosen.steps or variant.steps,
        guidance=variant.guidance,
        solver=variant.solver,
        latent_scale=variant.latent_scale,
        size_conditions=variant.size_conditions,
        sigma=variant.family == "sigma",
    )


def _machine() -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor()
    return f"{device or platform.machine()}, torch {torch.__version__}"


def _judge(rows: list[Row], course: Course, page: Path) -> int:
    bad = 0
    for row in rows:
        print(f"\n{row.item.prompt}")
        for name, drawn in row.drawn().items():
            faults = _faults(drawn, row, course)
            said = drawn if isinstance(drawn, str) else "; ".join(faults) or "plausible"
            print(f"  {name:10} {said}")
            # What the host's own PixArt makes of the file is shown, not judged.
            bad += bool(faults) and name != "ComfyUI"
        for pair, distance in row.distances().items():
            print(f"  {pair}: {distance:.1e}")
    far = _is_far(rows, course)
    print(f"\npage: {page.absolute()}")
    print(f"pictures that are not plausible: {bad}; ours near diffusers': {'no' if far else 'yes'}")
    return int(bool(bad) or far)


def _faults(drawn: Drawn | str | None, row: Row, course: Course) -> list[str]:
    if not isinstance(drawn, Drawn):
        return []
    return faults_of(drawn.picture, drawn.latent, course.latent_scale, row.item.colours)


def _is_far(rows: list[Row], course: Course) -> bool:
    """Tell whether ours is far from diffusers'; LCM draws other noise there between its steps."""
    told = [row.distances().get("ours to diffusers") for row in rows]
    found = [distance for distance in told if distance is not None]
    return bool(found) and course.solver != "LCM" and median(found) > _MOST_DISTANCE
