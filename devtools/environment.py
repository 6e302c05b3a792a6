"""Where things are: the repository, the host and the interpreter that runs both."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devtools import existing
from devtools.pins import read_pins

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
VENV = ROOT / ".venv"


@dataclass(frozen=True)
class Environment:
    """A host folder and the interpreter that has everything the host imports."""

    python: Path
    host: Path


def own_environment() -> Environment:
    """Return the environment that set-up makes here, whether it is made yet or not."""
    host = CACHE / f"host-{read_pins().host.host_version}"
    return Environment(interpreter_of(VENV), host)


def chosen_environment(variables: Mapping[str, str]) -> Environment:
    """Return the install named by ``COMFYUI_PATH``, else the repository's own environment.

    Raises Failure when the named install is none.
    """
    found = existing.find_install(variables)
    return Environment(*found) if found else own_environment()


def host_folder() -> Path:
    """Return the host's folder for code that already runs inside the environment."""
    return chosen_environment(os.environ).host


def interpreter_of(venv: Path) -> Path:
    """Return the path of a virtual environment's interpreter on this system."""
    return existing.interpreter_in(venv, sys.platform)
