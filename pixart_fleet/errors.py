"""The one error that the fleet raises on purpose: a sentence the reader can act on."""

from __future__ import annotations

from collections.abc import Callable


class FleetError(Exception):
    """Something a run cannot go on without; its text is one sentence in four parts.

    ``detail`` is what a program said, in its own lines below the sentence.
    """

    def __init__(self, what: str, *, found: str, expected: str, do: str, detail: str = "") -> None:
        sentence = f"{what}: found {found}, expected {expected}; {do}."
        super().__init__(f"{sentence}\n{detail}" if detail else sentence)

    def __reduce__(self) -> tuple[Callable[[str], FleetError], tuple[str]]:
        """Travel between processes as the finished sentence."""
        return _arrived, (str(self),)


def _arrived(text: str) -> FleetError:
    error = FleetError.__new__(FleetError)
    Exception.__init__(error, text)
    return error
