"""What is asked of pip-audit, and what is made of its answer."""

from __future__ import annotations

import json

import pytest

from devtools.audit import REQUIREMENTS, known_holes, lowest_versions
from devtools.failure import Failure

NONE = {"name": "ftfy", "version": "6.1.0", "vulns": []}
ONE = {
    **{"name": "diffusers", "version": "0.37.0"},
    "vulns": [{"id": "CVE-2026-44513", "fix_versions": ["0.38.0"], "aliases": []}],
}
PASSED_OVER = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}


def answer(*packages: object) -> str:
    """Return what pip-audit prints with ``--format json``."""
    return json.dumps({"dependencies": packages, "fixes": []})


def test_each_requirement_is_asked_for_at_its_lower_bound() -> None:
    text = REQUIREMENTS.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lowest_versions() == [line.replace(">=", "==") for line in lines]


def test_holes_are_told() -> None:
    assert known_holes(answer(NONE, ONE), 2) == [
        "diffusers 0.37.0: CVE-2026-44513, mended in 0.38.0"
    ]


@pytest.mark.parametrize("text", ["", answer(PASSED_OVER), answer(NONE, PASSED_OVER)])
def test_what_was_passed_over_is_no_good_answer(text: str) -> None:
    with pytest.raises(Failure, match="cannot be audited"):
        known_holes(text, 2)
