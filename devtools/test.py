"""``python dev.py test [PYTEST ARGUMENTS]``: linter, formatter, type checker, then the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from devtools.environment import ROOT
from devtools.process import become

_PACK = "pack_under_check"
"""A package name for the repository, whose folder may have any name."""

_CHECKS = (
    ("ruff check", ("ruff", "check", ".")),
    ("ruff format", ("ruff", "format", "--check", ".")),
    ("mypy of tools and tests", ("mypy", "dev.py", "devtools", "demo", "pixart_fleet", "tests")),
)
_LEAST_COVERED = 95
"""Per cent of the shipped code's lines and branches that all tests together go through."""
_ALL_TESTS = [
    "tests",
    *(f"--cov={ROOT / part}" for part in ("nodes", "pixart_core")),
    *("--cov-branch", "--cov-report=term-missing:skip-covered"),
    f"--cov-fail-under={_LEAST_COVERED}",
]


def main(arguments: list[str]) -> int:
    """Run all checks and return the exit code of the first that fails."""
    os.chdir(ROOT)
    for title, command in _CHECKS:
        code = _run(title, command, ROOT)
        if code:
            return code
    code = _check_types_of_the_pack()
    if code:
        return code
    print("== pytest", flush=True)
    return become(_module("pytest", *(arguments or _ALL_TESTS)))


def _check_types_of_the_pack() -> int:
    """Check the pack as the host imports it: as one package, whose parts import each other."""
    command = ("mypy", "--config-file", str(ROOT / "pyproject.toml"), "-p", _PACK)
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder, _PACK)
        for name in ("nodes", "pixart_core"):
            shutil.copytree(ROOT / name, pack / name)
        shutil.copy(ROOT / "__init__.py", pack)
        cache = ("--cache-dir", str(ROOT / ".mypy_cache" / _PACK))
        return _run("mypy of the pack", (*command, *cache), Path(folder))


def _run(title: str, command: tuple[str, ...], folder: Path) -> int:
    print(f"== {title}", flush=True)
    began = time.monotonic()
    code = subprocess.run(_module(*command), cwd=folder, check=False).returncode
    verdict = "failed" if code else "passed"
    print(f"   {title} {verdict} in {time.monotonic() - began:.1f} s", flush=True)
    return code


def _module(*command: str) -> list[str]:
    return [sys.executable, "-m", *command]
