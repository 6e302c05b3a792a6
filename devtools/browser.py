"""A Chromium for the tests: the one that is there, or Debian's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from devtools.failure import Failure

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
_INSTALL = ("apt-get", "install", "--yes", "--no-install-recommends", "chromium")

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
"""For a machine without a screen, on which nothing may ask for the network."""


def find_browser() -> Path:
    """Return Chromium's path; on Debian, as root, install it if there is none.

    Raises Failure where there is none and it cannot be installed.
    """
    found = _found()
    if found is None and shutil.which("apt-get") and hasattr(os, "geteuid") and not os.geteuid():
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (("apt-get", "update"), _INSTALL):
            subprocess.run(command, env=environment, capture_output=True, check=False)
        found = _found()
    if found is None:
        raise Failure(
            "The tests of the editor cannot run",
            found="no Chromium on the path",
            expected=f"one of {', '.join(_NAMES)}",
            do="install Chromium (Debian: apt-get install chromium), then run this again",
        )
    return found


def _found() -> Path | None:
    paths = (shutil.which(name) for name in _NAMES)
    return next((Path(path) for path in paths if path), None)
