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
    with tempfile.TemporaryDirectory() as folder:
        lowest = Path(folder, "lowest.txt")
        lowest.write_text("\n".join(lowest_versions()) + "\n", encoding="utf-8")
        print("== the lowest versions that requirements.txt allows", flush=True)
        holes = _holes("--requirement", str(lowest), "--no-deps", "--disable-pip")
        print("== what is installed here", flush=True)
        _holes("--local")
    return int(bool(holes))


def lowest_versions() -> list[str]:
    """Return each requirement of the pack at its lower bound: ``name==version``."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return [f"{each.name}=={_bound_of(each)}" for each in requirements]


def _bound_of(requirement: Requirement) -> str:
    (bound,) = (own.version for own in requirement.specifier if own.operator == ">=")
    return bound


def _holes(*arguments: str) -> int:
    """Print what is known of the packages, and return how many holes there are."""
    command = [sys.executable, "-m", "pip_audit", *_OPTIONS, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    packages = json.loads(done.stdout)["dependencies"] if done.stdout.startswith("{") else []
    # pip-audit passes over what it could not ask for, and ends well.
    asked = [package for package in packages if "vulns" in package]
    if not asked:
        raise Failure(
            "The dependencies cannot be audited",
            found=f"no answer from PyPI for {len(packages)} packages",
            expected="a list of published holes",
            do="try again where PyPI's own addresses can be reached",
            detail=done.stderr.strip()[-500:],
        )
    for package in asked:
        for hole in package["vulns"]:
            fixed = ", ".join(hole["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {hole['id']}, mended in {fixed}")
    count = sum(len(package["vulns"]) for package in asked)
    print(f"{count} holes in {len(asked)} packages, {len(packages) - len(asked)} not known to PyPI")
    return count
