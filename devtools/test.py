"""``python dev.py test [--no-browser] [PYTEST ARGUMENTS]``: linter, formatter, type checker, tests.

Without arguments all tests run, in two processes where there are two cores.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from devtools.environment import ROOT
from devtools.parallel import in_parallel
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
_NO_BROWSER = "--no-browser"
_ALL_TESTS = [
    # The long files first, so that both processes end together.
    *("tests/host", "tests/fleet", "tests/browser", "tests/core"),
    *(f"--cov={ROOT / part}" for part in ("nodes", "pixart_core")),
    *("--cov-branch", "--cov-report=term-missing:skip-covered"),
    *(f"--cov-fail-under={_LEAST_COVERED}", "--durations=25"),
]


def main(arguments: list[str]) -> int:
    """Run all checks and return the exit code of the first that fails."""
    os.chdir(ROOT)
    # A shell's background job ignores Ctrl-C, and so would all that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for title, command in _CHECKS:
        code = _run(title, command, ROOT)
        if code:
            return code
    code = _check_types_of_the_pack()
    if code:
        return code
    print("== pytest", flush=True)
    return become(*_tests(arguments))


def _tests(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return pytest's command, and the variables that it needs."""
    chosen = [argument for argument in arguments if argument != _NO_BROWSER]
    left_out = ["--ignore=tests/browser"] * (_NO_BROWSER in arguments)
    if chosen:
        return _module("pytest", *chosen, *left_out), {}
    options, variables = in_parallel()
    return _module("pytest", *_ALL_TESTS, *left_out, *options), variables


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
