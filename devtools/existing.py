"""An existing ComfyUI install, named by COMFYUI_PATH and COMFYUI_PYTHON."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from devtools.failure import Failure

_PATH, _PYTHON = "COMFYUI_PATH", "COMFYUI_PYTHON"
_PROBE = """
import importlib.util, sys
print(*sys.version_info[:2], *(n for n in sys.argv[1:] if importlib.util.find_spec(n) is None))
"""


def interpreter_in(venv: Path, platform: str) -> Path:
    """Return a virtual environment's interpreter on ``platform`` (as ``sys.platform``)."""
    return venv / "Scripts" / "python.exe" if platform == "win32" else venv / "bin" / "python"


def find_install(variables: Mapping[str, str]) -> tuple[Path, Path] | None:
    """Return interpreter and folder of the named install, None where ``COMFYUI_PATH`` is not set.

    Raises Failure where a variable names something that is not there.
    """
    named, python = variables.get(_PATH, ""), variables.get(_PYTHON, "")
    if not named:
        if python:
            raise Failure(
                f"Could not use {_PYTHON}",
                found=f"{_PATH} unset",
                expected=f"{_PATH} to name the ComfyUI folder that {_PYTHON} belongs to",
                do=f"set {_PATH}, or unset {_PYTHON} to use the environment in .venv",
            )
        return None
    folder = Path(named).expanduser().absolute()
    _require_host(folder)
    return (_named_python(python) if python else _guessed_python(folder)), folder


def require_modules(python: Path, needed: Mapping[str, str]) -> None:
    """Raise Failure, naming the pip line, unless ``python`` is 3.11+ and has these modules.

    ``needed`` maps a module's name to what pip calls it, e.g. ``{"pytest": "pytest==9.2.0"}``.
    """
    major, minor, *missing = _probe(python, sorted(needed))
    if (int(major), int(minor)) < (3, 11):
        raise Failure(
            f"Could not use {python}",
            found=f"Python {major}.{minor}",
            expected="Python 3.11 or newer",
            do=f"name a newer interpreter in {_PYTHON}",
        )
    if missing:
        line = " ".join(needed[name] for name in missing)
        raise Failure(
            f"Could not run this command with {python}",
            found=f"no {', no '.join(missing)}",
            expected="every package that the command imports",
            do=f"run: {python} -m pip install {line}",
        )


def _require_host(folder: Path) -> None:
    if not (folder / "main.py").is_file():
        raise Failure(
            f"Could not use the ComfyUI install named by {_PATH}",
            found=f"no main.py in {folder}" if folder.is_dir() else f"no folder {folder}",
            expected="the folder that holds ComfyUI's main.py",
            do=f"correct {_PATH}, or unset it to use the environment in .venv",
        )


def _named_python(name: str) -> Path:
    python = shutil.which(str(Path(name).expanduser()))
    if python is None:
        raise Failure(
            f"Could not use the interpreter named by {_PYTHON}",
            found=f"nothing to run at {name}",
            expected="the Python that runs this ComfyUI",
            do=f"correct {_PYTHON}, or unset it to have the install's own Python looked for",
        )
    return Path(python).absolute()


def _guessed_python(folder: Path) -> Path:
    guesses = (
        interpreter_in(folder / "venv", sys.platform),
        interpreter_in(folder / ".venv", sys.platform),
        folder.parent / "python_embeded" / "python.exe",
    )
    return next((guess for guess in guesses if guess.is_file()), Path(sys.executable))


def _probe(python: Path, modules: Sequence[str]) -> list[str]:
    probe = subprocess.run(
        [str(python), "-c", _PROBE, *modules], capture_output=True, text=True, check=False
    )
    if probe.returncode:
        raise Failure(
            f"Could not start {python}",
            found=(probe.stderr.strip().splitlines() or ["no message"])[-1],
            expected="a Python that runs",
            do=f"correct {_PYTHON}",
        )
    return probe.stdout.split()
