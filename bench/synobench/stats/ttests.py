"""Student's t-tests of a mean: against 0, and for equivalence by two one-sided tests (Schuirmann 1987)."""

from __future__ import annotations

import math

from synobench.stats import special
from synobench.stats.intervals import HALF_POINT, Estimate


def t_probability(difference: Estimate) -> float:
    """Return the two-sided p of the t-test of a mean against 0; of values that do not vary, 1 at 0 and 0 elsewhere."""
    return min(1.0, 2 * _above(difference, 0.0, -1 if difference.mean < 0 else 1))


def tost(difference: Estimate, margin: float = HALF_POINT) -> float:
    """Return the p of equivalence: the larger of two one-sided t-tests, mean > -margin and mean < margin.

    Raises:
        ValueError: a single value, or a margin that is not above 0.
    """
    if not margin > 0:
        raise ValueError("an equivalence margin is above 0")
    return max(_above(difference, -margin, 1), _above(difference, margin, -1))


def _above(difference: Estimate, value: float, side: int) -> float:
    if difference.sd is None:
        raise ValueError("a t-test needs two values")
    gap = side * (difference.mean - value)
    if difference.sd == 0:
        return 0.5 if gap == 0 else float(gap < 0)
    return float(special.stdtr(difference.n - 1, -gap * math.sqrt(difference.n) / difference.sd))
