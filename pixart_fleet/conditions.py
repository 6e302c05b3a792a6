"""What must be true before anything starts."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pixart_fleet.errors import FleetError
from pixart_fleet.jobs import PREFIX
from pixart_fleet.options import KEY_VARIABLE, FleetOptions, ServeOptions
from pixart_fleet.workflow import Workflow

_SHORTEST_KEY = 16


def check_saving(workflow: Workflow, path: Path) -> None:
    """Raise FleetError for a workflow that saves nothing."""
    if not any(PREFIX in node["inputs"] for node in workflow.graph.values()):
        raise FleetError(
            f"Could not use the workflow {path}",
            found="no node that saves a file",
            expected="one such as Save Image",
            do="add one, and export the workflow again",
        )


def check_places(options: FleetOptions) -> None:
    """Raise FleetError for a folder that is not there.

    Of another cluster's machines nothing can be known here; their workers tell when they start.
    """
    if options.ray_address is not None:
        return
    facts = options.facts
    needed = [
        (facts.comfyui / "main.py", "ComfyUI", "--comfyui"),
        (facts.python, "the Python that runs ComfyUI", "--python"),
        (facts.models, "the folder of models", "--models"),
        (facts.pack / "__init__.py", "this pack", "--pack"),
        *([(facts.inputs, "the folder of pictures", "--input")] if facts.inputs else []),
    ]
    for path, what, option in needed:
        if not path.exists():
            raise FleetError(
                "Could not start the fleet",
                found=f"nothing at {path}",
                expected=what,
                do=f"say where it is with {option}",
            )


def check_listening(options: ServeOptions) -> None:
    """Raise FleetError where strangers could draw: reachable from outside, and without a key."""
    if options.key and len(options.key) < _SHORTEST_KEY:
        raise FleetError(
            "Could not start the service",
            found=f"a key of {len(options.key)} letters in {KEY_VARIABLE}",
            expected=f"at least {_SHORTEST_KEY}",
            do="make one with `python -c 'import secrets; print(secrets.token_urlsafe())'`",
        )
    if not options.key and not _is_loopback(options.host):
        raise FleetError(
            f"Could not start the service on {options.host}",
            found=f"no key in {KEY_VARIABLE}",
            expected="one, where others can reach it",
            do="set that variable, or listen on 127.0.0.1",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
