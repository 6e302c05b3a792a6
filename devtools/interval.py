"""How far a share, or the difference of two, can be trusted: 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

_Z = 1.959964


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its 95 % interval."""

    estimate: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference counts as one."""
        return self.low > 0 or self.high < 0


def share_of(hits: Sequence[bool]) -> Interval:
    """Return the share of hits with Wilson's interval; at least one trial is needed."""
    bounds = stats.binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    return Interval(sum(hits) / len(hits), float(bounds.low), float(bounds.high))


def difference_of_shares(ours: Sequence[bool], theirs: Sequence[bool]) -> Interval:
    """Return how much larger the first share is, pair by pair.

    The interval is that of Bonett and Price (2012), which holds for few differing pairs too.
    """
    n = len(ours)
    pairs = list(zip(ours, theirs, strict=True))
    won = sum(a and not b for a, b in pairs)
    lost = sum(b and not a for a, b in pairs)
    p, q = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    reach = _Z * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return Interval((won - lost) / n, max(p - q - reach, -1.0), min(p - q + reach, 1.0))


def mean_difference(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Return how much larger the first mean is, pair by pair, with Student's interval."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    n, mean = len(differences), math.fsum(differences) / len(differences)
    error = math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1) / n)
    reach = float(stats.t.ppf(0.975, n - 1)) * error
    return Interval(mean, mean - reach, mean + reach)
