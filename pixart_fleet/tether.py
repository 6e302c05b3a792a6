"""Runs ComfyUI's ``main.py`` in this process, which ends when its owner does.

``python tether.py FOLDER MAIN [ARGUMENTS]``. The owner holds the other end of this process's
standard input. However the owner ends, by kill -9 too, the system closes that end; then FOLDER is
removed, and this process and all that it started are killed. It is a script by itself and needs
nothing but Python.
"""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import sys
import threading
from pathlib import Path


def _hold(number: int, folder: str) -> None:
    """Wait for the end of the owner, then end at once."""
    while os.read(number, 4096):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Tie this process to its owner, and become ComfyUI."""
    tether = os.dup(0)
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_hold, args=(tether, sys.argv[1]), daemon=True).start()
    script = Path(sys.argv[2]).resolve()
    sys.argv = [str(script), *sys.argv[3:]]
    sys.path[0] = str(script.parent)
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
