"""Statistics over seeds: intervals, differences paired by seed, and what a board of this size could have seen.

Student-t intervals, because a percentile bootstrap of five values covers far less than its nominal level. Sums are
exact (``math.fsum``), so that no figure depends on the order in which records were read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from synobench.errors import BenchError
from synobench.stats import special

LEVEL = 0.95
"""The two-sided level of every interval, unless it says otherwise."""

ALPHA = 0.05
"""The probability of any false claim that a family of verdicts takes."""

POWER = 0.8
"""The probability of detection behind "the smallest difference that could have been seen"."""

HALF_POINT = 0.005
"""Half a point of accuracy: two entries within it count as the same."""


@dataclass(frozen=True)
class Estimate:
    """The mean of `n` values and what is known of it.

    Args:
        n: number of values.
        mean: their mean.
        sd: sample standard deviation (n - 1); None for a single value.
        half: half-width of the Student-t interval of the mean; None for a single value.
        least, most: the extremes of the values.
    """

    n: int
    mean: float
    sd: float | None
    half: float | None
    least: float
    most: float

    @property
    def low(self) -> float | None:
        """The lower end of the interval, or None where there is none."""
        return None if self.half is None else self.mean - self.half

    @property
    def high(self) -> float | None:
        """The upper end of the interval, or None where there is none."""
        return None if self.half is None else self.mean + self.half

    @property
    def constant(self) -> bool:
        """Whether several values were all the same."""
        return self.n > 1 and self.least == self.most

    def holds(self, value: float) -> bool | None:
        """Return whether the interval holds `value`; None where there is no interval."""
        if self.half is None:
            return None
        return abs(value - self.mean) <= self.half


def finite(values: Iterable[float], what: str = "the values") -> list[float]:
    """Return `values` as a list.

    Raises:
        BenchError: one of them is NaN or infinite.
    """
    held = list(values)
    if not all(map(math.isfinite, held)):
        wrong = next(value for value in held if not math.isfinite(value))
        raise BenchError(f"{what} hold {wrong}: statistics need finite numbers, leave out what was not measured")
    return held


def mean(values: Sequence[float]) -> float:
    """Return the mean, exactly the value itself where all are equal."""
    if not values:
        raise ValueError("the mean of no values")
    least, most = min(values), max(values)
    return least if least == most else math.fsum(values) / len(values)


def standard_deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation (n - 1) of at least two values."""
    if len(values) < 2:
        raise ValueError("a standard deviation needs two values")
    centre = mean(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1))


@lru_cache(maxsize=2**14)
def t_quantile(probability: float, df: int) -> float:
    """Return the quantile of Student's t with `df` degrees of freedom.

    Raises:
        ValueError: `probability` does not lie between 0 and 1.
    """
    if not 0 < probability < 1:
        raise ValueError("a level lies between 0 and 1, as 0.95")
    return float(special.stdtrit(df, probability))


def interval(values: Iterable[float], level: float = LEVEL) -> Estimate:
    """Return the mean of `values` with its two-sided Student-t interval.

    Raises:
        ValueError: there is no value.
        BenchError: a value is NaN or infinite.
    """
    held = finite(values)
    n = len(held)
    if n == 1:
        return Estimate(n, held[0], None, None, held[0], held[0])
    if not n:
        raise ValueError("the mean of no values")
    least, most, quantile = min(held), max(held), t_quantile((1 + level) / 2, n - 1)
    if least == most:
        return Estimate(n, least, 0.0, 0.0, least, most)
    centre = math.fsum(held) / n
    sd = math.sqrt(math.fsum([(value - centre) ** 2 for value in held]) / (n - 1))
    return Estimate(n, centre, sd, quantile * sd / math.sqrt(n), least, most)


def paired(a: Mapping[int, float], b: Mapping[int, float], level: float = LEVEL) -> Estimate | None:
    """Return the mean of a - b over the seeds that both hold, with its interval; None where they share no seed."""
    shared = sorted(a.keys() & b.keys())
    return interval([a[seed] - b[seed] for seed in shared], level) if shared else None


def paired_ratio(a: Mapping[int, float], b: Mapping[int, float], level: float = LEVEL) -> Estimate | None:
    """Return the mean of a / b over the seeds that both hold with b > 0; None where there is none."""
    shared = sorted(seed for seed in a.keys() & b.keys() if b[seed] > 0)
    return interval([a[seed] / b[seed] for seed in shared], level) if shared else None


def smallest_difference(sd: float, n: int, power: float = POWER, level: float = LEVEL) -> float:
    """Return the true difference that a paired t-test of `n` pairs detects with probability `power`.

    With critical value c the non-centrality d sqrt(n) / sd solves P(T <= c) = 1 - power, T non-central t; the far tail
    is left out (it holds less than 1e-3 of the power).

    Args:
        sd: standard deviation of the paired differences.
        n: number of pairs, two at least.
        power: the wanted probability of detection.
        level: the level of the two-sided interval.
    """
    if n < 2:
        raise ValueError("a paired test needs two pairs")
    return _shift(n, power, level) * sd / math.sqrt(n)


@lru_cache(maxsize=2**14)
def _shift(n: int, power: float, level: float) -> float:
    """Return the non-centrality at which a test of `n` pairs rejects with probability `power`."""
    return float(special.nctdtrinc(n - 1, 1 - power, t_quantile((1 + level) / 2, n - 1)))


def seeds_needed(
    sd: float, difference: float = HALF_POINT, power: float = POWER, level: float = LEVEL, least: int = 2
) -> int:
    """Return the least number of seeds, `least` or more, at which a paired t-test sees `difference`.

    Args:
        sd: standard deviation of the paired differences.
        difference: the true difference to be seen, above 0.
        power: the wanted probability of detection.
        level: the level of the two-sided interval.
        least: the number to begin with.
    """
    if not difference > 0:
        raise ValueError("only a difference above 0 can be seen")
    normal = float(special.ndtri((1 + level) / 2) + special.ndtri(power))
    n = max(2, least, math.ceil((normal * sd / difference) ** 2))  # Student's t asks for a few more, never for fewer
    while smallest_difference(sd, n, power, level) > difference:
        n += 1
    return n


def sampling_error(accuracy: float, images: int, level: float = LEVEL) -> float:
    """Return the half-width of the binomial (normal) interval of an accuracy measured on `images` test images."""
    quantile = float(special.ndtri((1 + level) / 2))
    return quantile * math.sqrt(accuracy * (1 - accuracy) / images)
