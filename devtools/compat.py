"""``python dev.py compat``: the tests inside the host, against each ComfyUI that is pinned."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from pathlib import Path

from devtools.environment import CACHE, ROOT, VENV
from devtools.installation import Installation
from devtools.parallel import in_parallel
from devtools.pins import HostPin, read_pins

_TESTS = "tests/host"


@dataclass(frozen=True)
class Outcome:
    """What the tests said of one host."""

    host: str
    passed: int
    lacking: int
    """Tests of what this version does not have."""
    failed: tuple[str, ...]
    seconds: float


def main(arguments: list[str]) -> int:
    """Run the tests against each host, print a table, and return 1 if any test failed."""
    parser = argparse.ArgumentParser(prog="dev.py compat", description=__doc__)
    pins = read_pins()
    hosts = {pin.host_version: pin for pin in (*pins.older, pins.host)}
    parser.add_argument("--only", choices=hosts, action="append", help="a version; repeatable")
    parser.add_argument("tests", nargs="*", default=[_TESTS], help="which tests; all of the host's")
    chosen = parser.parse_args(arguments)
    outcomes = [_run(hosts[version], chosen.tests) for version in chosen.only or hosts]
    print(_table(outcomes))
    return int(any(outcome.failed or not outcome.passed for outcome in outcomes))


def _run(pin: HostPin, tests: list[str]) -> Outcome:
    """Fetch a host and run the tests in it, with this interpreter."""
    folder = CACHE / f"host-{pin.host_version}"
    Installation(VENV, CACHE, folder, replace(read_pins(), host=pin)).finish_host()
    print(f"== ComfyUI {pin.host_version}", flush=True)
    with tempfile.TemporaryDirectory() as kept:
        report = Path(kept, "report.xml")
        options, variables = in_parallel()
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *options, *tests]
        host = {"COMFYUI_PATH": str(folder), "COMFYUI_PYTHON": sys.executable}
        subprocess.run(command, cwd=ROOT, env={**os.environ, **variables, **host}, check=False)
        return _read(pin.host_version, report)


def _read(host: str, report: Path) -> Outcome:
    if not report.is_file():
        return Outcome(host, 0, 0, ("the tests did not run",), 0.0)
    (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    cases = list(suite.iter("testcase"))
    failed = tuple(
        f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        for case in cases
        if any(child.tag in ("failure", "error") for child in case)
    )
    lacking = sum(any(child.tag == "skipped" for child in case) for case in cases)
    passed = len(cases) - len(failed) - lacking
    return Outcome(host, passed, lacking, failed, float(suite.get("time", 0)))


def _table(outcomes: list[Outcome]) -> str:
    lines = ["", "ComfyUI      passed  lacking   failed    minutes"]
    for outcome in outcomes:
        lines.append(
            f"{outcome.host:<10}{outcome.passed:>9}{outcome.lacking:>9}{len(outcome.failed):>9}"
            f"{outcome.seconds / 60:>11.1f}"
        )
    for outcome in outcomes:
        lines += [f"{outcome.host}: {name}" for name in outcome.failed]
    return "\n".join(lines)
