"""From dev.py into the environment: make it if need be, then run the command inside it."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from devtools import existing
from devtools.commands import Command, command_named, usage
from devtools.environment import CACHE, ROOT, VENV, Environment, chosen_environment
from devtools.failure import Failure
from devtools.installation import Installation
from devtools.pins import read_pins
from devtools.process import become

_INTERRUPTED = (
    "The set-up was interrupted: found an environment made in part, expected a whole one; "
    "run the same command again, it goes on from here."
)


def launch(arguments: list[str]) -> int:
    """Run one command of dev.py and return its exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    signal.signal(signal.SIGTERM, _leave)
    try:
        environment = _ready_environment(command_named(arguments[0]))
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    except OSError as error:
        print(_unwritable(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(_INTERRUPTED, file=sys.stderr)
        return 130
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(ROOT)
    return become([str(environment.python), "-m", "devtools", *arguments])


def _ready_environment(command: Command) -> Environment:
    environment, pins = chosen_environment(os.environ), read_pins()
    if os.environ.get("COMFYUI_PATH"):
        needed = {module: pins.requirement(name) for module, name in command.needs.items()}
        existing.require_modules(environment.python, needed)
        return environment
    installation = Installation(VENV, CACHE, environment.host, pins)
    if not installation.finished():
        installation.finish()
    return environment


def _unwritable(error: OSError) -> Failure:
    return Failure(
        "Could not make the environment",
        found=str(error),
        expected=f"to read and write in {ROOT}",
        do="mend that and run the same command again; it goes on from here",
    )


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
