"""``python dev.py soak``: a long mixed queue on one server, whose pictures must stay the same.

Models, T5 precisions, LoRA, ControlNet and batches change from prompt to prompt; some are
interrupted, some bad, some come from two clients at once; now and then memory is freed. Memory is
compared at moments when all is freed that can be: models, the host's history of prompts, and what
the C library holds in reserve.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from tqdm import tqdm

from devtools.server import HostServer

from . import files
from .kinds import EDGES
from .queue import Queue
from .usage import Usage, growth_of, usage_of

_GIVING_BACK = Path(__file__).parent / "giving_back.py"
_VARIABLES = {
    # Tensors of 64 KB and more in pages of their own, which go when they do: among small things,
    # in the C library's arenas, they leave gaps of tens of megabytes, more or fewer each time.
    "MALLOC_MMAP_THRESHOLD_": "65536",
}
_MOST_GROWTH = 0.05
_EARLY = 0.2
"""After which share of the prompts the first look is taken, when all that can be is freed."""
_OFTEN = 0.01
"""After which share of the prompts the plot has a point."""


def main(arguments: list[str]) -> int:
    """Run the queue, print what became of it, and return 1 if anything was not as it should be."""
    parser = argparse.ArgumentParser(
        prog="dev.py soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of plot and figures")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder, _server(Path(folder)) as server:
        noise = Image.effect_noise((128, 128), 80).convert("RGB")
        noise.save(server.base / "input" / EDGES)
        counts, faults, usages, course = soak(server, chosen.prompts, chosen.seed)
    _write(usages, course, chosen.out)
    for what, count in sorted(counts.items()):
        print(f"{what:24} {count:5}")
    for usage in (usages[0], usages[-1]):
        print(
            f"after {usage.prompts:5} prompts: {usage.memory / 1e6:7.0f} MB, {usage.handles} "
            f"handles, {usage.threads} threads, {usage.temporary} temporary files"
        )
    for fault in faults:
        print(f"FAULT: {fault}")
    print(f"plot: {chosen.out / 'soak.png'}\n{len(faults)} faults")
    return int(bool(faults))


def _server(folder: Path) -> HostServer:
    return HostServer(files.models(folder), beside=[_GIVING_BACK], variables=_VARIABLES)


def soak(
    server: HostServer, prompts: int, seed: int
) -> tuple[Counter[str], list[str], list[Usage], list[Usage]]:
    """Run so many prompts; return how many of each sort, what was wrong, and the memory.

    The memory twice: at the few moments when all that can be is freed, and in between.
    """
    queue = Queue(server, random.Random(seed))
    queue.draw_references()
    usages: list[Usage] = []
    course: list[Usage] = []
    for number in tqdm(range(1, prompts + 1), desc="soak", unit="prompt"):
        queue.next_prompt()
        if number % max(round(prompts * _OFTEN), 1) == 0:
            course.append(usage_of(server.pid, server.base, number))
        if number % max(round(prompts * _EARLY), 1) == 0:
            queue.settle()
            usages.append(usage_of(server.pid, server.base, number))
    growth = growth_of(usages[0], usages[-1], _MOST_GROWTH)
    if not server.running():
        growth.append("the host has ended")
    return queue.counts, [*queue.faults, *growth], usages, course


def _write(usages: list[Usage], course: list[Usage], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for label, points, style in (("at work", course, "-"), ("freed", usages, "o")):
        axes.plot([u.prompts for u in points], [u.memory / 1e6 for u in points], style, label=label)
    axes.set_ylim(0, 1.2 * max(u.memory for u in course) / 1e6)
    axes.legend()
    axes.set_xlabel("prompts")
    axes.set_ylabel("anonymous memory of the host, MB")
    figure.tight_layout()
    figure.savefig(out / "soak.png", dpi=120)
    both = {"freed": usages, "at work": course}
    text = json.dumps({name: [asdict(u) for u in own] for name, own in both.items()}, indent=1)
    (out / "soak.json").write_text(text + "\n", encoding="utf-8")
