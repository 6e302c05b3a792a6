"""``python -m pixart_fleet run|serve``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pixart_fleet.errors import FleetError

_INTERRUPTED = "Interrupted; run the same command with --resume to go on."


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    try:
        from pixart_fleet.options import RunOptions, parse
        from pixart_fleet.running import run
    except ModuleNotFoundError as error:
        print(_lacking(error), file=sys.stderr)
        return 1
    options = parse(arguments)
    try:
        if isinstance(options, RunOptions):
            return run(options)
        from pixart_fleet.serving import serve  # takes seconds to import

        return serve(options)
    except FleetError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(_INTERRUPTED if isinstance(options, RunOptions) else "Stopped.", file=sys.stderr)
        return 130


def _lacking(error: ModuleNotFoundError) -> FleetError:
    return FleetError(
        "Could not start",
        found=f"no module {error.name} for {sys.executable}",
        expected="those of requirements-fleet.txt, in the Python that runs ComfyUI",
        do="run it with that Python, or install them there: "
        "python -m pip install -r requirements-fleet.txt",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
