"""The most that one request to the service may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The most that one request may ask for."""

    letters: int = 4000
    """Of a prompt."""
    side: int = 2048
    """Of a picture, in pixels."""
    steps: int = 100
