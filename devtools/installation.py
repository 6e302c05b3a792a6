"""Making the environment: host, virtual environment and packages, each step kept once done."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools import archive
from devtools.existing import interpreter_in
from devtools.failure import Failure
from devtools.lock import only_one
from devtools.pins import Pins

_VENV_STAMP, _PACKAGES_STAMP = ".pixart-venv", ".pixart-stamp"
_FRESH_VENV = ("pip-", "setuptools-")


@dataclass(frozen=True)
class Installation:
    """An environment at ``venv`` with the host at ``host``; downloads and the log in ``cache``."""

    venv: Path
    cache: Path
    host: Path
    pins: Pins

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return interpreter_in(self.venv, sys.platform)

    @property
    def log(self) -> Path:
        """File that everything pip says goes to."""
        return self.cache / "setup.log"

    def finished(self) -> bool:
        """Whether nothing is left to do. Costs milliseconds."""
        return all(step.done() for step in self._steps())

    def finish(self) -> None:
        """Do the steps that are not done. Raises Failure; what was done until then is kept."""
        with only_one(self.cache / "setup.lock", _say_waiting) as lock:
            self.log.unlink(missing_ok=True)
            todo = [step for step in self._steps() if not step.done()]
            for number, step in enumerate(todo, 1):
                print(f"[{number}/{len(todo)}] {step.title} ...", end="", flush=True)
                began = time.monotonic()
                try:
                    step.do(lock)
                finally:
                    print(f" {time.monotonic() - began:.1f} s", flush=True)

    def finish_host(self) -> None:
        """Fetch the host alone, if it is not there. Raises Failure."""
        with only_one(self.cache / "setup.lock", _say_waiting) as lock:
            if not self._has_host():
                self._fetch_host(lock)

    def _steps(self) -> tuple[_Step, ...]:
        version = self.pins.host.host_version
        return (
            _Step(f"environment {self.venv.name}", self._has_venv, self._make_venv),
            _Step(f"ComfyUI {version}", self._has_host, self._fetch_host),
            _Step("packages (about 6 GB, minutes)", self._has_packages, self._install),
        )

    def _has_venv(self) -> bool:
        # A dangling link to an interpreter that was removed does not exist.
        return (self.venv / _VENV_STAMP).is_file() and self.python.exists()

    def _make_venv(self, lock: int) -> None:
        _require_ours(self.venv)
        self._run(
            "make the environment", [sys.executable, "-m", "venv", "--clear", self.venv], lock
        )
        (self.venv / _VENV_STAMP).touch()

    def _has_host(self) -> bool:
        return archive.is_unpacked(self.host, self.pins.host.sha256)

    def _fetch_host(self, lock: int) -> None:
        pin = self.pins.host
        file = self.cache / pin.file
        if not file.is_file() or archive.sha256_of(file) != pin.sha256:
            file.unlink(missing_ok=True)
            self._download(lock)
        archive.unpack(file, pin.folder, self.host, pin.sha256)

    def _download(self, lock: int) -> None:
        pin = self.pins.host
        arguments = ("--no-deps", "--no-binary", pin.project, "--ignore-requires-python")
        requirement = f"{pin.project}=={pin.version}"
        self._pip(
            f"download {requirement}", ["download", *arguments, "-d", self.cache, requirement], lock
        )

    def _has_packages(self) -> bool:
        stamp = self.venv / _PACKAGES_STAMP
        return (
            self._has_host()
            and stamp.is_file()
            and stamp.read_text(encoding="ascii") == self._fingerprint()
        )

    def _install(self, lock: int) -> None:
        stamp = self.venv / _PACKAGES_STAMP
        stamp.unlink(missing_ok=True)
        _drop_half_installed(self.venv)
        requirements = ("-r", str(self._host_requirements()), *self.pins.requirements())
        self._pip("install the packages", ["install", *requirements], lock)
        stamp.write_text(self._fingerprint(), encoding="ascii")

    def _host_requirements(self) -> Path:
        return self.host / "requirements.txt"

    def _fingerprint(self) -> str:
        """Digest of all that decides what is installed."""
        asked = (
            "\n".join(self.pins.requirements()).encode() + self._host_requirements().read_bytes()
        )
        return hashlib.sha256(asked).hexdigest()

    def _pip(self, what: str, arguments: Sequence[str | Path], lock: int) -> None:
        quiet = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off")
        self._run(what, [self.python, "-m", "pip", arguments[0], *quiet, *arguments[1:]], lock)

    def _run(self, what: str, command: Sequence[str | Path], lock: int) -> None:
        """Run a step's program with its output in the log."""
        inherited = () if sys.platform == "win32" else (lock,)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(map(str, command))}\n")
            log.flush()
            code = subprocess.run(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=inherited,
                check=False,
            ).returncode
        if code:
            raise Failure(
                f"Could not {what}",
                found=f'"{_last_error(self.log)}" in {self.log}',
                expected="a working network and enough free disk",
                do="mend that and run the same command again; it goes on from here",
            )


@dataclass(frozen=True)
class _Step:
    title: str
    done: Callable[[], bool]
    do: Callable[[int], None]


def _require_ours(venv: Path) -> None:
    """Raise Failure where clearing ``venv`` would delete what somebody else installed."""
    if (venv / _VENV_STAMP).is_file():
        return
    foreign = [
        info.name
        for info in venv.rglob("site-packages/*.dist-info")
        if not info.name.startswith(_FRESH_VENV)
    ]
    if foreign:
        raise Failure(
            f"Could not make the environment in {venv}",
            found=f"one with packages that dev.py did not install, e.g. {foreign[0]}",
            expected="no folder there, or one that dev.py made",
            do="move or delete that folder and run the same command again",
        )


def _drop_half_installed(venv: Path) -> None:
    """Remove the records of packages whose installation was cut off.

    pip takes a package for installed once its record lies there, but finishes it with INSTALLER.
    """
    for info in venv.rglob("site-packages/*.dist-info"):
        if not (info / "INSTALLER").is_file():
            shutil.rmtree(info)


def _last_error(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines)[-1].removeprefix("ERROR:").strip().rstrip(".")


def _say_waiting() -> None:
    print("Another set-up is at work here; waiting for it to end.", flush=True)
