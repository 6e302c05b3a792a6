"""Processes that are ended together with all they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def start(
    command: Sequence[str], *, folder: Path, log: Path, variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a command as leader of its own group, all of its output going to ``log``."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )


def become(command: list[str], variables: Mapping[str, str] | None = None) -> int:
    """Give this process over to a command where the system can; returns its exit code.

    ``variables`` are added to the environment, where they are not set yet.
    """
    sys.stdout.flush()
    environment = {**(variables or {}), **os.environ}
    if sys.platform != "win32":  # where exec leaves the shell without the exit code
        os.execve(command[0], command, environment)
    with subprocess.Popen(command, env=environment) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:  # the child has got it too, and may have to clear away
                continue


def end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process with all it started, by force after ten seconds."""
    _signal(process, force=False)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    # The leader may have gone while something it started has not.
    _signal(process, force=True)
    process.wait()


def _signal(process: subprocess.Popen[bytes], *, force: bool) -> None:
    if sys.platform == "win32":
        if process.poll() is None:
            process.kill() if force else process.terminate()
        return
    try:
        os.killpg(process.pid, signal.SIGKILL if force else signal.SIGTERM)
    except ProcessLookupError:
        return
