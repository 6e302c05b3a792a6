"""One real headless host that a command or a test owns from start to end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType

from devtools import process
from devtools.environment import ROOT, host_folder
from devtools.failure import Failure
from devtools.memory import anonymous_bytes
from devtools.placing import furnish

_ENDING_SIGNALS = ("SIGTERM", "SIGHUP")
_LOG_TAIL_LINES = 15
_START_SECONDS = 300.0
_VARIABLES = {
    # Threads that wait by spinning make everything ten times slower once another process computes.
    "OMP_WAIT_POLICY": "PASSIVE",
}


class HostServer:
    """Context manager around a host process with its own throw-away folder.

    ``models`` maps a folder below ``models/`` to the files (or model folders) placed there;
    ``port`` defaults to a free one; ``pack`` is the folder that becomes the host's custom node;
    ``beside`` are other custom nodes of one file each; ``variables`` are added to the process's
    environment.
    The process and ``base`` are gone on exit however the block ends, unless this process itself
    is killed outright. Entering raises Failure when the host does not answer within five minutes.
    """

    def __init__(
        self,
        models: Mapping[str, Sequence[Path]] | None = None,
        *,
        arguments: Sequence[str] = (),
        port: int | None = None,
        pack: Path = ROOT,
        beside: Sequence[Path] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.models = dict(models or {})
        self.pack = pack
        self.beside = tuple(beside)
        self.variables = dict(variables or {})
        self.host = host_folder()
        self.arguments = tuple(arguments)
        self.port = port or free_port()
        self.seconds_to_start = 0.0
        self.base = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._handlers: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``, as HostClient takes it."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """File that all of the host's output goes to."""
        return self.base / "host.log"

    def log_text(self) -> str:
        """Return the host's output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def running(self) -> bool:
        """Tell whether the host's process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Number of the host's process."""
        assert self._process is not None
        return self._process.pid

    def anonymous_bytes(self) -> int:
        """Return the memory that the host's process has in use, mapped files apart."""
        return anonymous_bytes(self.pid)

    def __enter__(self) -> HostServer:
        began = time.monotonic()
        self.base = Path(tempfile.mkdtemp(prefix="pixart-host-"))
        self._catch_signals()
        try:
            furnish(self.base, self.models, self.pack, self.beside)
            self._start()
            self._wait_until_it_answers()
            self.seconds_to_start = time.monotonic() - began
        except BaseException:
            self._clear_away()
            raise
        return self

    def start_again(self) -> None:
        """Start the host anew in the same folder, once it has ended; Failure as on entering."""
        assert self._process is not None
        self._process.wait(timeout=30)
        self._start()
        self._wait_until_it_answers()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clear_away()

    def _catch_signals(self) -> None:
        """Turn the signals that would end this process at once into KeyboardInterrupt.

        Without it the block's exit would not run and the host would outlive its owner.
        """
        for name in _ENDING_SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                try:
                    self._handlers[number] = signal.signal(number, _leave)
                except ValueError:  # only the main thread may; others are ended by it
                    return

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "main.py", "--listen", "127.0.0.1", "--port", str(self.port)),
            *("--base-directory", str(self.base), "--database-url", "sqlite:///:memory:"),
            *("--disable-api-nodes", "--disable-auto-launch"),
            *(() if _has_accelerator() else ("--cpu",)),
            *self.arguments,
        ]

    def _start(self) -> None:
        always = {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        variables = {**_VARIABLES, **os.environ, **always, **self.variables}
        self._process = process.start(
            self._command(), folder=self.host, log=self.log, variables=variables
        )

    def _wait_until_it_answers(self) -> None:
        began = time.monotonic()
        while not self._answers():
            waited = time.monotonic() - began
            if not self.running():
                raise self._not_started(f"its process ended after {waited:.0f} s")
            if waited > _START_SECONDS:
                raise self._not_started(f"no answer after {waited:.0f} s")
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/system_stats", timeout=5):
                # Another program may hold the port; then our own process has ended.
                return self.running()
        except (urllib.error.URLError, OSError):
            return False

    def _not_started(self, found: str) -> Failure:
        tail = "\n".join(self.log_text().splitlines()[-_LOG_TAIL_LINES:])
        return Failure(
            f"Could not start the host in {self.host}",
            found=found,
            expected=f"an answer at http://{self.address}",
            do="mend what its log says, which ends as below",
            detail=tail,
        )

    def _clear_away(self) -> None:
        if self._process is not None:
            process.end(self._process)
            self._process = None
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
        shutil.rmtree(self.base)


def free_port() -> int:
    """Return a loopback TCP port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _has_accelerator() -> bool:
    import torch  # takes seconds, and only a start needs it

    return torch.cuda.is_available() or torch.backends.mps.is_available()
