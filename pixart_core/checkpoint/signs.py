"""What the name of a file says of the model in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from ..variants import Family, Solver

_SIGMA = re.compile(r"sigma|900m")
_ALPHA = re.compile(r"alpha|pixart[^a-z0-9]*(xl|lcm)")
"""The official alpha files are called PixArt-XL-2-…, and the organisation PixArt-alpha."""
_SIDE = re.compile(r"(?<!\d)(256|512|1024|2048)(?!\d)|(?<![a-z0-9])(2k)(?![a-z0-9])")
_SOLVER = re.compile(r"(?<![a-z])(lcm|dmd)(?![a-z])")
_SOLVERS: dict[str, Solver] = {"lcm": "LCM", "dmd": "DMD"}


@dataclass(frozen=True)
class Signs:
    """Facts in a name; None where it says nothing, or two things."""

    family: Family | None
    side: int | None
    """Trained side in pixels."""
    solver: Solver | None


def read_signs(name: str) -> Signs:
    """Read a name, or a path: where its last part is silent, the folder before it speaks."""
    parts = PurePath(name.replace("\\", "/").lower()).parts
    read = [_signs_in(part) for part in reversed(parts)]
    return Signs(
        family=next((signs.family for signs in read if signs.family), None),
        side=next((signs.side for signs in read if signs.side), None),
        solver=next((signs.solver for signs in read if signs.solver), None),
    )


def _signs_in(words: str) -> Signs:
    family: Family | None = None
    if _SIGMA.search(words):
        family = "sigma"
    elif _ALPHA.search(words):
        family = "alpha"
    sides = {int(number) if number else 2048 for number, _ in _SIDE.findall(words)}
    solvers = set(_SOLVER.findall(words))
    return Signs(
        family=family,
        side=sides.pop() if len(sides) == 1 else None,
        solver=_SOLVERS[solvers.pop()] if len(solvers) == 1 else None,
    )
