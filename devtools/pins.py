"""The pinned versions, read from pins.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

PINS = Path(__file__).with_name("pins.toml")


@dataclass(frozen=True)
class HostPin:
    """The archive that the test host is unpacked from."""

    project: str
    version: str
    file: str
    sha256: str
    folder: str
    host_version: str


@dataclass(frozen=True)
class Pins:
    """Everything that set-up installs: the host, and package name -> version."""

    host: HostPin
    packages: dict[str, str]
    older: tuple[HostPin, ...] = ()
    """Older hosts, oldest first, which only ``compat`` fetches."""

    def requirement(self, package: str) -> str:
        """``package==version`` as pip wants it."""
        return f"{package}=={self.packages[package]}"

    def requirements(self) -> list[str]:
        """All packages as pip wants them."""
        return [self.requirement(package) for package in self.packages]


def read_pins(path: Path = PINS) -> Pins:
    """Parse a pins file."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    older = tuple(HostPin(**entry) for entry in table.get("older", ()))
    return Pins(HostPin(**table["host"]), table["packages"], older)
