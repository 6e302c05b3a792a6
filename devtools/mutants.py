"""``python dev.py mutants``: whether tests notice small faults put into the code, one at a time.

mutmut makes the faults and runs the tests on a copy of the project; it takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from devtools.environment import ROOT
from devtools.failure import Failure

_MUTATED = (
    "pixart_core/buckets.py",
    "pixart_core/text/tokens.py",
    "pixart_core/checkpoint/detect.py",
    "pixart_core/checkpoint/layouts.py",
    "pixart_core/sampling/schedule.py",
)
"""Where a wrong number or branch would change pictures without a word."""
_TESTS = (
    *("checkpoint", "convert", "course", "detect", "resolution", "text"),
    *("variants", "variations", "vectors", "wrappings"),
)
_COPIED = ("pixart_core", "demo", "devtools", "docs", "tests", "nodes", "__init__.py", "dev.py")
_LEAST_KILLED = 0.85
_KILLED = {"killed", "timeout", "segfault", "caught by type check"}
_PASSED_OVER = {"skipped"}
"""By a pragma in the code; there is none."""


def main(arguments: list[str]) -> int:
    """Make the mutants, try them, print what survived and the figures."""
    parser = argparse.ArgumentParser(
        prog="dev.py mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="pixart-mutants-") as folder:
        _copy(Path(folder))
        found = _tried(Path(folder))
    for name, verdict in found.items():
        if verdict not in _KILLED | _PASSED_OVER:
            print(f"{verdict:12} {name}")
    return _report(found)


def _copy(folder: Path) -> None:
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.png", "*.jpg")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    tests = [f"tests/core/test_{name}.py" for name in _TESTS]
    settings = {
        "source_paths": ["pixart_core"],
        "only_mutate": list(_MUTATED),
        "also_copy": list(_COPIED),
        "pytest_add_cli_args_test_selection": tests,
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "--import-mode=importlib"],
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (folder / "pyproject.toml").write_text(
        "\n".join(["[tool.mutmut]", *lines, "[tool.pytest.ini_options]", 'pythonpath = ["."]', ""]),
        encoding="utf-8",
    )


def _tried(folder: Path) -> dict[str, str]:
    """Return what became of each mutant, by name."""
    # Threads that computed before a fork would be waited for in vain after it.
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-m", "mutmut", "run"], cwd=folder, env=variables, check=False
    )
    listed = subprocess.run(
        [sys.executable, "-m", "mutmut", "results", "--all", "true"],
        cwd=folder,
        env=variables,
        check=False,
        capture_output=True,
        text=True,
    )
    lines = [line.strip().rpartition(": ") for line in listed.stdout.splitlines()]
    found = {name: verdict for name, colon, verdict in lines if colon}
    if ran.returncode or not found:
        raise Failure(
            "The mutants could not be tried",
            found=f"mutmut ended with {ran.returncode}, and {len(found)} mutants",
            expected="mutants, each tried",
            do="look at what it said above",
            detail=listed.stderr,
        )
    return found


def _report(found: dict[str, str]) -> int:
    rows: dict[str, Counter[str]] = {}
    for name, verdict in found.items():
        if verdict not in _PASSED_OVER:
            module = name.rpartition(".")[0]
            rows.setdefault(module, Counter())[verdict] += 1
    modules = [path.removesuffix(".py").replace("/", ".") for path in _MUTATED]
    missed = set(modules) != rows.keys()
    print(f"\n{'':40} mutants killed")
    for module, verdicts in rows.items():
        killed, count = sum(verdicts[verdict] for verdict in _KILLED), verdicts.total()
        missed |= killed < _LEAST_KILLED * count
        note = "" if killed >= _LEAST_KILLED * count else "  MISSED"
        print(f"{module:40} {count:7} {killed / count:6.1%}{note}")
    print(f"at least {_LEAST_KILLED:.0%} of each")
    return int(missed)
