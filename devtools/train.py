"""``python dev.py train [OPTIONS]``: train the demo model from nothing."""

from __future__ import annotations

import runpy
import sys

from devtools.environment import host_folder
from devtools.models import DEMO_FOLDER


def main(arguments: list[str]) -> int:
    """Run ``demo.train`` with the host's tokenizer and the repository's folder as defaults."""
    tokenizer = host_folder() / "comfy" / "text_encoders" / "t5_tokenizer"
    defaults = ["--tokenizer", str(tokenizer), "--out", str(DEMO_FOLDER)]
    sys.argv = ["dev.py train", *defaults, *arguments]
    runpy.run_module("demo.train", run_name="__main__")
    return 0
