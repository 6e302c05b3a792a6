"""``python dev.py pages``: write the pages of docs/ that are made from tables in the code."""

from __future__ import annotations

import argparse

from devtools.environment import ROOT
from pixart_core.buckets import buckets_of
from pixart_core.variants import VAES, VARIANTS, Variant

CHECKPOINTS = ROOT / "docs" / "checkpoints.md"

_COLUMNS = (
    *("variant", "released as", "trained at", "tokens", "R", "latents ×", "size conditions"),
    *("sizes from", "solver", "steps", "guidance"),
)


def main(arguments: list[str]) -> int:
    """Write the pages."""
    argparse.ArgumentParser(prog="dev.py pages", description=__doc__).parse_args(arguments)
    CHECKPOINTS.write_text(checkpoints_page(), encoding="utf-8")
    print(CHECKPOINTS)
    return 0


def checkpoints_page() -> str:
    """Return docs/checkpoints.md."""
    rows = [_row(variant) for variant in VARIANTS.values()]
    vaes = [f"- × {scale}: {name}" for scale, name in VAES.items()]
    return "\n".join(
        [
            "# PixArt models and their files",
            "",
            "Made by `python dev.py pages` from `pixart_core/variants.py`; change it there.",
            "",
            *_table(rows),
            "",
            "*Trained at*: side of a square picture in pixels. *Tokens*: the longest prompt. *R*:",
            "range of the position grid. *Latents ×* tells which VAE belongs to a model:",
            "",
            *vaes,
            "",
            "A wrong variant raises no error, it makes bad pictures. `python -m pixart_core info",
            "FILE` and the node Inspect PixArt File say what a file is taken for, and by what that",
            "was told: its tensors, a note that our conversion left in it, the configuration",
            "beside it, its name, or likelihood alone.",
            "",
        ]
    )


def _row(variant: Variant) -> tuple[str, ...]:
    buckets = buckets_of(variant.sample_size)
    widest, tallest = buckets[0], buckets[-1]
    return (
        f"`{variant.name}`",
        variant.releases,
        str(variant.sample_size),
        str(variant.tokens),
        str(variant.position_range),
        str(variant.latent_scale),
        "yes" if variant.size_conditions else "no",
        f"{widest[0]} × {widest[1]} to {tallest[0]} × {tallest[1]}",
        variant.solver,
        str(variant.steps),
        "none" if variant.guidance == 1 else str(variant.guidance),
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    lines = [_COLUMNS, tuple("--" for _ in _COLUMNS), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
