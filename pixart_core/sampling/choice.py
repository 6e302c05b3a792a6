"""What a user's choice of solver, steps and guidance means for a model, in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from ..variants import Variant
from .solvers import AUTO, SOLVERS


@dataclass(frozen=True)
class Choice:
    """What is run, and what the user should know about it."""

    solver: str
    steps: int
    guidance: float
    """1 is none."""
    notices: tuple[str, ...]


def solver_of(name: str, variant: Variant) -> str:
    """Return the solver that a name stands for: "auto" is the one the model was made for."""
    return variant.solver if name == AUTO else name


def choose(
    name: str, steps: int, guidance: float, variant: Variant, *, patched: bool = False
) -> Choice:
    """Return what to run for a solver's name (or "auto"), and notices where it cannot suit.

    With "auto" a distilled model brings its own steps and guidance. Guidance below 1 is 1: none.
    ``patched``: whether a LoRA may have made another kind of model of it.
    """
    if name == AUTO and not SOLVERS[variant.solver].guided:
        steps, guidance = variant.steps, variant.guidance
    solver = solver_of(name, variant)
    notices = list(misfits(solver, guidance, variant, patched=patched))
    most = SOLVERS[solver].most_steps
    if steps > most:
        notices.append(
            f"{solver} takes at most {most} step{'s' * (most > 1)}; the others were left out."
        )
    return Choice(solver, min(steps, most), max(guidance, 1.0), tuple(notices))


def misfits(
    solver: str, guidance: float, variant: Variant, *, patched: bool = False
) -> tuple[str, ...]:
    """Return what is wrong with a solver and a guidance for a model, a sentence each."""
    said = []
    if solver != variant.solver and not patched:
        if not SOLVERS[solver].guided:
            said.append(
                f"{solver} needs a model that was made for it, and {variant.name} was not: the "
                "picture will be blurred. Set Solver to auto."
            )
        elif not SOLVERS[variant.solver].guided:
            said.append(
                f"{variant.name} was made for {variant.solver}, {variant.steps} steps and no "
                f"guidance; {solver} will not do it justice. Set Solver to auto."
            )
    if guidance > 1 and not SOLVERS[solver].guided:
        said.append(
            f"Models for {solver} have their guidance built in: {guidance:g} more burns the "
            "colours. Set Guidance to 1."
        )
    return tuple(said)
