"""``python dev.py audit``: published holes in what the pack depends on, by pip-audit.

Asked are the lowest versions that ``requirements.txt`` allows, which are the worst that a user can
have, and what is installed here. It needs the network: pip-audit asks PyPI.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

from devtools.environment import ROOT
from devtools.failure import Failure

REQUIREMENTS = ROOT / "requirements.txt"
_OPTIONS = ("--progress-spinner", "off", "--format", "json")


def main(arguments: list[str]) -> int:
    """Ask, print what is known, and return 1 if the lowest versions have holes."""
    parser = argparse.ArgumentParser(
        prog="dev.py audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    wanted = lowest_versions()
    with tempfile.TemporaryDirectory() as folder:
        lowest = Path(folder, "lowest.txt")
        lowest.write_text("\n".join(wanted) + "\n", encoding="utf-8")
        answer = _ask("--requirement", str(lowest), "--no-deps", "--disable-pip")
    print("== the lowest versions that requirements.txt allows", flush=True)
    holes = known_holes(answer, len(wanted))
    print("\n".join([*holes, f"{len(holes)} holes in {len(wanted)} packages"]))
    print("== what is installed here", flush=True)
    installed = known_holes(_ask("--local"))
    print("\n".join([*installed, f"{len(installed)} holes"]))
    return int(bool(holes))


def lowest_versions() -> list[str]:
    """Return each requirement of the pack at its lower bound: ``name==version``."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return [f"{each.name}=={_bound_of(each)}" for each in requirements]


def _bound_of(requirement: Requirement) -> str:
    (bound,) = (own.version for own in requirement.specifier if own.operator == ">=")
    return bound


def _ask(*arguments: str) -> str:
    """Return pip-audit's answer (JSON)."""
    command = [sys.executable, "-m", "pip_audit", *_OPTIONS, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout


def known_holes(answer: str, least: int = 1) -> list[str]:
    """Return a line for each hole in pip-audit's answer (JSON).

    Raises Failure where PyPI told of fewer than ``least`` packages: pip-audit itself passes over
    what it could not ask for, and ends well.
    """
    packages = json.loads(answer)["dependencies"] if answer else []
    told = [package for package in packages if "vulns" in package]
    if len(told) < least:
        raise Failure(
            "The dependencies cannot be audited",
            found=f"an answer from PyPI for {len(told)} packages",
            expected=f"one for {least} at least",
            do="try again where PyPI's own addresses can be reached",
        )
    return [
        f"{package['name']} {package['version']}: {hole['id']}, mended in "
        + (", ".join(hole["fix_versions"]) or "no version yet")
        for package in told
        for hole in package["vulns"]
    ]
