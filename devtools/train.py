"""``python dev.py train [controlnet] [OPTIONS]``: train the demo model from nothing.

With ``controlnet`` in front: train the ControlNet that belongs to the demo model.
"""

from __future__ import annotations

import sys

from devtools.environment import host_folder
from devtools.models import CONTROLNET, DEMO_FOLDER
from devtools.process import become

_BRANCH = "controlnet"
_VARIABLES = {
    # Small steps: threads that sleep between them, and memory that goes back to the system after
    # each, cost a third of the time.
    "OMP_WAIT_POLICY": "ACTIVE",
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
}


def main(arguments: list[str]) -> int:
    """Run the trainer with the host's tokenizer and the repository's folder as defaults."""
    tokenizer = host_folder() / "comfy" / "text_encoders" / "t5_tokenizer"
    defaults = ["--tokenizer", str(tokenizer)]
    if arguments[:1] == [_BRANCH]:
        module, arguments = "demo.train_controlnet", arguments[1:]
        defaults += ["--models", str(DEMO_FOLDER), "--out", str(DEMO_FOLDER / CONTROLNET)]
    else:
        module = "demo.train"
        defaults += ["--out", str(DEMO_FOLDER)]
    return become([sys.executable, "-m", module, *defaults, *arguments], _VARIABLES)
