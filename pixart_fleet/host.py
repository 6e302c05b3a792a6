"""One headless ComfyUI that a worker owns: its process, its folder, its port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import aiohttp

from pixart_fleet.errors import FleetError

_PACK = "ComfyUI-PixArt"
_FOLDERS = ("custom_nodes", "input", "output", "temp", "user")
_LOG_TAIL_LINES = 15
_LOOK_SECONDS = 0.1
_GRACE_SECONDS = 10.0
_PREFIX = "pixart-fleet-"
_CLAIM = "owner.lock"
_TETHER = Path(__file__).with_name("tether.py")


@dataclass(frozen=True)
class HostFacts:
    """What a host is made of; the paths are those of the machine that it runs on."""

    comfyui: Path
    """ComfyUI's folder."""
    python: Path
    """The interpreter that has what ComfyUI imports."""
    models: Path
    """ComfyUI's folder of models, shared by all hosts, and never written to."""
    pack: Path
    """The folder of this node pack."""
    inputs: Path | None = None
    """Pictures that the workflow loads."""
    on_cpu: bool = True
    arguments: tuple[str, ...] = ()
    """More options of ComfyUI."""
    start_seconds: float = 600.0


class Host:
    """A ComfyUI on loopback, on a free port, in a throw-away folder."""

    def __init__(self, facts: HostFacts) -> None:
        self.facts = facts
        self.port = 0
        self.base = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._claim: IO[bytes] | None = None

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.port}"

    @property
    def output(self) -> Path:
        """The folder that ComfyUI saves into."""
        return self.base / "output"

    @property
    def pid(self) -> int:
        """Number of the process; 0 where there is none."""
        return self._process.pid if self._process else 0

    def running(self) -> bool:
        """Tell whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start it in a new folder and wait until it answers. Raises FleetError."""
        await self.stop()
        remove_abandoned()
        self.base, self._claim = _claimed_folder()
        self.port = _free_port()
        try:
            self._furnish()
            self._launch()
            await self._wait_until_it_answers()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the process with all that it started, and remove its folder."""
        if self._process is not None:
            process, self._process = self._process, None
            await asyncio.to_thread(_end, process)
        if self._claim is not None:
            shutil.rmtree(self.base, ignore_errors=True)
            self._claim.close()
            self.base, self._claim = Path(), None

    async def answers(self) -> bool:
        """Tell whether it is alive and well."""
        try:
            timeout = aiohttp.ClientTimeout(total=5)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"http://{self.address}/system_stats") as answer,
            ):
                # Another program may hold the port; then our own process has ended.
                return answer.status == 200 and self.running()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    def log_tail(self) -> str:
        """Return the last lines of what ComfyUI said."""
        try:
            text = (self.base / "host.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-_LOG_TAIL_LINES:])

    def _furnish(self) -> None:
        for name in _FOLDERS:
            if name != "input" or self.facts.inputs is None:
                (self.base / name).mkdir()
        if self.facts.inputs is not None:
            (self.base / "input").symlink_to(self.facts.inputs, target_is_directory=True)
        (self.base / "models").symlink_to(self.facts.models, target_is_directory=True)
        (self.base / "custom_nodes" / _PACK).symlink_to(self.facts.pack, target_is_directory=True)

    def _launch(self) -> None:
        always = {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        # Threads that wait by spinning slow down everything else on the machine.
        variables = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **always}
        with (self.base / "host.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.facts.comfyui,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _command(self) -> list[str]:
        facts = self.facts
        return [
            *(str(facts.python), str(_TETHER), str(self.base), str(facts.comfyui / "main.py")),
            *("--listen", "127.0.0.1", "--port", str(self.port)),
            *("--base-directory", str(self.base), "--database-url", "sqlite:///:memory:"),
            *("--disable-api-nodes", "--disable-auto-launch"),
            *(("--cpu",) if facts.on_cpu else ()),
            *facts.arguments,
        ]

    async def _wait_until_it_answers(self) -> None:
        began = time.monotonic()
        while not await self.answers():
            waited = time.monotonic() - began
            if not self.running():
                raise self._not_started(f"its process ended after {waited:.0f} s")
            if waited > self.facts.start_seconds:
                raise self._not_started(f"no answer after {waited:.0f} s")
            await asyncio.sleep(_LOOK_SECONDS)

    def _not_started(self, found: str) -> FleetError:
        return FleetError(
            f"Could not start ComfyUI in {self.facts.comfyui} on {socket.gethostname()}",
            found=found,
            expected=f"an answer at http://{self.address}",
            do="mend what its log says, which ends as below",
            detail=self.log_tail(),
        )


def default_python() -> Path:
    """Return the interpreter that hosts run in unless another is named."""
    return Path(os.environ.get("COMFYUI_PYTHON") or sys.executable)


def remove_abandoned() -> None:
    """Remove the folders of hosts on this machine whose owners were killed."""
    for claim in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_CLAIM}"):
        with contextlib.suppress(OSError), claim.open("r+b") as file:
            if _lock(file):
                shutil.rmtree(claim.parent, ignore_errors=True)


def _claimed_folder() -> tuple[Path, IO[bytes]]:
    """Make a folder that counts as in use for as long as this process lives."""
    base = Path(tempfile.mkdtemp(prefix=_PREFIX))
    part = base / f"{_CLAIM}.part"
    file = part.open("xb")
    _lock(file)
    part.rename(base / _CLAIM)  # it may be looked at from here on
    return base, file


def _lock(file: IO[bytes]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: what was abandoned stays
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and after ten seconds end it by force, with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
