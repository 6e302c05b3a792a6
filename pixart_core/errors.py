"""Errors whose text is a sentence for the person at the editor."""

from __future__ import annotations


class PixArtError(ValueError):
    """Something a user can mend: what failed, was found, was expected, and what to do."""

    def __init__(self, failed: str, *, found: str, expected: str, advice: str) -> None:
        super().__init__(f"{failed}: found {found}, expected {expected}. {advice}")


class CheckpointError(PixArtError):
    """A file is not what it should be."""


class ConditioningError(PixArtError):
    """A prompt, or what became of it, does not fit the model."""


class SamplingError(PixArtError):
    """The sampler was given, or produced, something it cannot use."""
