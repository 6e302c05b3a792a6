"""Runs one command inside the environment: ``python -m devtools COMMAND ...``."""

from __future__ import annotations

import importlib
import sys

from devtools.commands import command_named, usage
from devtools.failure import Failure


def main(arguments: list[str]) -> int:
    """Run the command that the first argument names and return its exit code."""
    if not arguments:
        print(usage())
        return 0
    try:
        module = importlib.import_module(command_named(arguments[0]).module)
        code: int = module.main(arguments[1:])
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{arguments[0]} was interrupted.", file=sys.stderr)
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
