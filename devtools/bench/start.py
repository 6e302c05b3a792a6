"""``python dev.py bench start``: what loading the pack adds to the host's start.

By ``-X importtime``: the modules that the pack imports and that the host had not imported before.
The exit code is 1 where that takes too long, or where something heavy is imported before a node
needs it.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass

from devtools.environment import ROOT

_MOST_SECONDS = 0.3
_REPEATS = 5
_HEAVY = ("diffusers", "bitsandbytes", "accelerate", "ftfy", "bs4", "peft", "matplotlib")
_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| ( *)(\S+)")
_MARK = "pixart-starts-here"
_SCRIPT = """
import sys
sys.path.insert(0, ".")
from devtools.environment import host_folder
sys.path.insert(0, str(host_folder()))
sys.argv = ["pack", "--cpu"]
import comfy.options
comfy.options.enable_args_parsing()
import execution, server, nodes
del sys.modules["nodes"]
sys.stderr.write("{mark}\\n")
sys.stderr.flush()
from devtools.inprocess import import_pack
import_pack()
heavy = [name for name in {heavy} if name in sys.modules]
print("heavy:", *heavy)
"""


@dataclass(frozen=True)
class Start:
    """One start of the host with the pack."""

    seconds: float
    """Of all imports that the pack adds."""
    slowest: tuple[tuple[str, float], ...]
    heavy: tuple[str, ...]


def main(arguments: list[str]) -> int:
    """Measure, print what takes longest, and return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="dev.py bench start", description=__doc__)
    parser.add_argument("--repeats", type=int, default=_REPEATS)
    repeats = parser.parse_args(arguments).repeats
    starts = [start_once() for _ in range(repeats)]
    seconds = statistics.median(start.seconds for start in starts)
    for name, own in starts[-1].slowest:
        print(f"{own * 1000:8.1f} ms  {name}")
    heavy = sorted({name for start in starts for name in start.heavy})
    print(f"the pack adds {seconds:.2f} s to the start (at most {_MOST_SECONDS})")
    print(f"imported before a node needs it: {', '.join(heavy) or 'nothing heavy'}")
    return int(seconds > _MOST_SECONDS or bool(heavy))


def start_once() -> Start:
    """Start the host's imports and then the pack's in a fresh process."""
    script = _SCRIPT.format(mark=_MARK, heavy=_HEAVY)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", script],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (line,) = (one for one in done.stdout.splitlines() if one.startswith("heavy:"))
    added = done.stderr.split(_MARK, 1)[1]
    return parse(added, tuple(line.split()[1:]))


def parse(report: str, heavy: tuple[str, ...]) -> Start:
    """Read what ``-X importtime`` wrote after the pack began."""
    own: dict[str, float] = {}
    for microseconds, _, _, name in _LINE.findall(report):
        # The tools of these measurements are no part of the pack.
        if not name.startswith("devtools"):
            own[name] = own.get(name, 0.0) + int(microseconds) / 1e6
    slowest = sorted(own.items(), key=lambda item: -item[1])[:10]
    return Start(sum(own.values()), tuple(slowest), heavy)
