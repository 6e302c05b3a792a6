"""``python dev.py corpus``: every bad input in one server's life, a good picture after each.

The tests look at a picture after every case that drew, every fourth that failed, and every fortieth
that was refused before it ran. ``--accept`` writes what became of each case into the corpus, to be
read before it is kept.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from devtools.environment import ROOT

EACH = "PIXART_CORPUS_EACH"
ACCEPT = "PIXART_CORPUS_ACCEPT"
_TESTS = "tests/host/test_corpus.py"


def main(arguments: list[str]) -> int:
    """Run the corpus's own tests and return their exit code."""
    parser = argparse.ArgumentParser(
        prog="dev.py corpus",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--accept", action="store_true", help="keep what becomes of each case")
    chosen = parser.parse_args(arguments)
    variables = {**os.environ, EACH: "1", ACCEPT: "1" if chosen.accept else ""}
    command = [sys.executable, "-m", "pytest", "-q", "-rP", _TESTS]
    return subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode
