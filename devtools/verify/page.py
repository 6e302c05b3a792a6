"""The page of a verification: the pictures side by side, and how far they are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations
from pathlib import Path

from devtools.reference import relative_error

from .by_host import Drawn
from .sheet import Item

_HEAD = """<!doctype html>
<meta charset="utf-8">
<title>PixArt: verification</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em; }}
figure {{ display: inline-block; width: 300px; margin: 0 1em 1em 0; vertical-align: top; }}
img {{ width: 100%; }}
</style>
<h1>{title}</h1>
<p>{machine}. The distances are relative L2 of the final latents.</p>
"""


@dataclass(frozen=True)
class Row:
    """One prompt by each; a text where it could not be drawn."""

    item: Item
    ours: Drawn
    stock: Drawn | str
    diffusers: Drawn | str

    def drawn(self) -> dict[str, Drawn | str]:
        """Return what each has made."""
        return {"ours": self.ours, "ComfyUI": self.stock, "diffusers": self.diffusers}

    def distances(self) -> dict[str, float]:
        """Return how far the final latents of two are apart, over the length of the second's."""
        made = {name: one for name, one in self.drawn().items() if isinstance(one, Drawn)}
        return {
            f"{a} to {b}": relative_error(made[a].latent, made[b].latent)
            for a, b in combinations(made, 2)
        }


def write_page(folder: Path, title: str, rows: Sequence[Row], machine: str) -> Path:
    """Write ``index.html`` and its pictures, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [_HEAD.format(title=escape(title), machine=escape(machine))]
    for number, row in enumerate(rows):
        parts.append(f"<h2>{escape(row.item.prompt)}</h2>\n")
        parts += [_figure(folder, number, name, one) for name, one in row.drawn().items()]
        told = (f"{pair}: {distance:.1e}" for pair, distance in row.distances().items())
        parts.append(f"<p>{escape('; '.join(told))}</p>\n")
    path = folder / "index.html"
    path.write_text("".join(parts), encoding="utf-8")
    return path


def _figure(folder: Path, number: int, name: str, made: Drawn | str) -> str:
    if isinstance(made, str):
        return f"<figure><figcaption>{escape(name)} {escape(made)}</figcaption></figure>\n"
    file = f"{number}-{name.lower()}.png"
    made.picture.save(folder / file)
    return f'<figure><img src="{file}" alt=""><figcaption>{escape(name)}</figcaption></figure>\n'
