"""``python -m pixart_core``: look at a model file, or convert it, without ComfyUI."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from .checkpoint.convert import DTYPES, convert
from .checkpoint.detect import AUTO
from .checkpoint.opening import open_model
from .checkpoint.report import guess_notice, report_on
from .errors import PixArtError
from .variants import VARIANTS


def main() -> int:
    """Run the command and return its exit code; what cannot be done is a sentence."""
    chosen = _parser().parse_args()
    try:
        return _info(chosen) if chosen.command == "info" else _convert(chosen)
    except PixArtError as error:
        if getattr(chosen, "json", False):
            print(json.dumps({"usable": False, "verdict": str(error)}, indent=1))
        else:
            print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pixart_core", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    info = commands.add_parser("info", help="say what a model file or diffusers folder is")
    info.add_argument("path", type=Path, help="a model file or diffusers folder")
    info.add_argument("--json", action="store_true", help="print the report as JSON")
    change = commands.add_parser(
        "convert", help="write a model in another layout or precision, as safetensors"
    )
    change.add_argument("path", type=Path, metavar="SRC", help="a model file or diffusers folder")
    change.add_argument("target", type=Path, metavar="DST", help="a new file or folder")
    change.add_argument(
        "--layout",
        choices=("original", "diffusers"),
        required=True,
        help="original: for this pack and PixArt's code; diffusers: a folder for from_pretrained, "
        "or one file where DST ends in .safetensors",
    )
    change.add_argument("--dtype", choices=tuple(DTYPES), help="precision (default: as it is)")
    change.add_argument(
        "--force",
        action="store_true",
        help="replace a file at DST; in a folder there, files of the same names",
    )
    for command in (info, change):
        command.add_argument(
            "--variant",
            choices=(AUTO, *VARIANTS),
            default=AUTO,
            help="what the model is; needed where nothing tells",
        )
    return parser


def _info(chosen: argparse.Namespace) -> int:
    report = report_on(open_model(chosen.path, chosen.variant))
    print(json.dumps(report.as_dict(), indent=1) if chosen.json else report.as_text())
    return 0 if report.usable else 1


def _convert(chosen: argparse.Namespace) -> int:
    model = open_model(chosen.path, chosen.variant)
    dtype = DTYPES[chosen.dtype] if chosen.dtype else None
    convert(model, chosen.target, chosen.layout, dtype, chosen.force, _with_bar)
    for notice in filter(None, [*model.notices, guess_notice(model)]):
        print(notice, file=sys.stderr)
    print(f"{model.name} ({model.info.variant.name}, by {model.info.ground}) -> {chosen.target}")
    return 0


def _with_bar(tensors: Iterable[tuple[str, Tensor]], total: int) -> Iterable[tuple[str, Tensor]]:
    bar: Iterable[tuple[str, Tensor]] = tqdm(tensors, total=total, unit="tensor", desc="convert")
    return bar


if __name__ == "__main__":
    sys.exit(main())
