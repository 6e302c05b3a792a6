"""``python dev.py pages``: write the pages of docs/ that are made from tables in the code."""

from __future__ import annotations

import argparse

from devtools.compatibility import compatibility_page
from devtools.environment import ROOT
from pixart_core.buckets import buckets_of
from pixart_core.sampling.schedule import TRAINING_SCHEDULE
from pixart_core.sampling.solvers import SOLVERS, Solver
from pixart_core.variants import VAES, VARIANTS, Variant

CHECKPOINTS = ROOT / "docs" / "checkpoints.md"
SOLVERS_PAGE = ROOT / "docs" / "solvers.md"
COMPATIBILITY = ROOT / "docs" / "compatibility.md"

_COLUMNS = (
    *("variant", "released as", "trained at", "tokens", "R", "latents ×", "size conditions"),
    *("sizes from", "solver", "steps", "guidance"),
)


def main(arguments: list[str]) -> int:
    """Write the pages."""
    argparse.ArgumentParser(prog="dev.py pages", description=__doc__).parse_args(arguments)
    CHECKPOINTS.write_text(checkpoints_page(), encoding="utf-8")
    SOLVERS_PAGE.write_text(solvers_page(), encoding="utf-8")
    COMPATIBILITY.write_text(compatibility_page(), encoding="utf-8")
    print(CHECKPOINTS, SOLVERS_PAGE, COMPATIBILITY, sep="\n")
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
            *_table(_COLUMNS, rows),
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


def solvers_page() -> str:
    """Return docs/solvers.md."""
    rows = [_solver_row(name, solver) for name, solver in SOLVERS.items()]
    training = ", ".join(f"`{name}={value!r}`" for name, value in TRAINING_SCHEDULE.items())
    return "\n".join(
        [
            "# Solvers",
            "",
            "Made by `python dev.py pages` from `pixart_core/sampling/solvers.py`.",
            "",
            "Each is a scheduler of diffusers with the training schedule of PixArt, "
            f"{training}, and:",
            "",
            *_table(_SOLVER_COLUMNS, rows),
            "",
            "*Steps*: how many do it justice. *Fresh noise*: drawn between steps, for each picture",
            "from its seed and its place in the batch. *Any sigmas*: whether it follows SIGMAS",
            "that are not PixArt Schedule's. IDDPM reads the variance that the model predicts",
            "beside the noise. SA-Solver is stochastic at timesteps 200 to 800; DMD takes one",
            "step, at timestep 400 from noise of unit variance.",
            "",
            "`python dev.py parity --solvers` compares the final latents with those of diffusers'",
            "own pipelines: relative L2 at most 1e-4. It differs from ComfyUI's KSampler in that",
            "timesteps reach the network as they are; ComfyUI rounds them to whole numbers.",
            "",
        ]
    )


_SOLVER_COLUMNS = (
    *("solver", "class in diffusers", "set beside the schedule", "steps", "most", "guidance"),
    *("fresh noise", "any sigmas"),
)


def _solver_row(name: str, solver: Solver) -> tuple[str, ...]:
    return (
        name,
        f"`{solver.scheduler}`",
        ", ".join(f"`{key}={value!r}`" for key, value in solver.options.items()),
        str(solver.steps),
        str(solver.most_steps),
        "yes" if solver.guided else "none",
        "yes" if solver.draws_noise else "no",
        "no" if solver.timesteps else "yes",
    )


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [columns, tuple("--" for _ in columns), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
