"""``python dev.py host``: the host with its editor in the foreground, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TextIO

from devtools.models import demo_models
from devtools.server import HostServer

_LOOK_SECONDS = 0.3


def main(arguments: list[str]) -> int:
    """Run the host until it ends or Ctrl-C; options not known here are the host's own."""
    parser = argparse.ArgumentParser(
        prog="dev.py host",
        description="Run ComfyUI with its editor, the pack and the demo model, until Ctrl-C.",
        epilog="Other options are handed to ComfyUI.",
    )
    parser.add_argument("--port", type=int, help="port to listen on (default: a free one)")
    chosen, others = parser.parse_known_args(arguments)
    models = {
        folder: [file for file in files if file.exists()] for folder, files in demo_models().items()
    }
    print("starting ComfyUI ...", flush=True)
    with HostServer(models, arguments=others, port=chosen.port) as server:
        try:
            with server.log.open(encoding="utf-8", errors="replace") as log:
                _follow(server, log)
        except KeyboardInterrupt:
            print("\nstopping ComfyUI", flush=True)
            return 0
    print("ComfyUI has ended by itself; the lines above say why.", file=sys.stderr)
    return 1


def _follow(server: HostServer, log: TextIO) -> None:
    """Copy the log to the terminal for as long as the host runs."""
    sys.stdout.write(log.read())
    print(
        f"\nThe editor is at http://{server.address}. Ctrl-C stops it and clears its folder away: "
        "save first what you want to keep.\n",
        flush=True,
    )
    while server.running():
        sys.stdout.write(log.read())
        sys.stdout.flush()
        time.sleep(_LOOK_SECONDS)
    sys.stdout.write(log.read())
