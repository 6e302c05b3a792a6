"""``python dev.py fuzz``: damaged files for every reader, for so many minutes.

Each must be read or refused with a sentence, in little time and memory. What is not is kept in
``tests/corpus/crashes``, where a test tries it again for ever.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from devtools.environment import ROOT

from .host_readers import HOST_READERS
from .mutation import damaged
from .readers import READERS, Reader
from .trial import Crash, attempt, limit_memory

CRASHES = ROOT / "tests" / "corpus" / "crashes"
ALL_READERS = (*READERS, *HOST_READERS)
_ADDRESS_SPACE = 16 * 2**30


def main(arguments: list[str]) -> int:
    """Fuzz, print the figures, and return 1 if something was not borne."""
    parser = argparse.ArgumentParser(
        prog="dev.py fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None, help="(default: another each time)")
    parser.add_argument("--out", type=Path, default=CRASHES, help="folder of what crashes")
    chosen = parser.parse_args(arguments)
    seed = random.randrange(2**32) if chosen.seed is None else chosen.seed
    limit_memory(_ADDRESS_SPACE)
    tried, crashes = fuzz(seed, chosen.minutes * 60, chosen.out)
    for name, count in tried.items():
        print(f"{name:16} {count:6} damaged files")
    for path, crash in crashes.items():
        print(f"\n{path}: {crash.reader}\n{crash.why}")
    print(f"\n{sum(tried.values())} files with seed {seed}, {len(crashes)} not borne")
    return int(bool(crashes))


def fuzz(
    seed: int, seconds: float, out: Path, readers: Sequence[Reader] = ALL_READERS
) -> tuple[dict[str, int], dict[Path, Crash]]:
    """Try damaged files, each reader in turn; return how many, and what was not borne."""
    rng, ends = random.Random(seed), time.monotonic() + seconds
    with TemporaryDirectory() as folder:
        good = {reader.name: reader.good(Path(folder)) for reader in readers}
    tried = dict.fromkeys(good, 0)
    crashes: dict[Path, Crash] = {}
    known: set[str] = set()
    with tqdm(desc="fuzz", unit="file", leave=False) as bar:
        while time.monotonic() < ends:
            for reader in readers:
                content = damaged(good[reader.name], rng)
                crash = attempt(reader, content)
                tried[reader.name] += 1
                bar.update()
                if crash is not None and crash.why not in known:
                    known.add(crash.why)
                    crashes[_keep(out, reader, content)] = crash
    return tried, crashes


def _keep(out: Path, reader: Reader, content: bytes) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{reader.name}-{hashlib.sha256(content).hexdigest()[:12]}{reader.suffix}"
    path.write_bytes(content)
    return path
