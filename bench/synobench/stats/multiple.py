"""Many comparisons paired by seed: Holm's step-down, its intervals, equivalence, and one verdict for each.

Holm (1979) tests the i-th smallest of m p-values at alpha / (m - i + 1) and stops at the first that fails. Each
comparison's interval stands at the level of its own test, those behind the stop at the level where it stopped: so an
interval leaves 0 out exactly where Holm rejects, and the probability of any false difference in a family is at most
alpha. These intervals need not cover all together; `Comparison.joint`, at 1 - alpha / m, does. Equivalence is two
one-sided t-tests (Schuirmann 1987), with Holm over their own p-values.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synobench.stats.evidence import SignFlip, sign_flip
from synobench.stats.intervals import ALPHA, HALF_POINT, POWER, Estimate, finite, interval, seeds_needed
from synobench.stats.ttests import t_probability, tost

BySeed = Mapping[int, float]

FEWEST = 3
"""Below this many shared seeds no comparison is tested."""

BETTER, WORSE, SAME, OPEN = "better", "worse", "same", "open"
"""The verdicts; `Comparison.says` tells them in words."""


@dataclass(frozen=True)
class Step:
    """One hypothesis in Holm's step-down.

    Args:
        p: its p-value, and `adjusted` for the family: rejected where that is at most alpha.
        alpha: the level of its own test.
        rejected: whether the step-down reached and rejected it.
    """

    p: float
    adjusted: float
    alpha: float
    rejected: bool


@dataclass(frozen=True)
class Comparison:
    """One entry against another, paired by seed, within a family of comparisons.

    Args:
        name: what it is called.
        difference: a - b over the shared seeds, its interval at `level`; None where no seed is shared.
        level: the level that Holm's step-down gives it.
        joint: the same at 1 - alpha / m, the level at which all m intervals hold together.
        p, adjusted: of the paired t-test, alone and by Holm; None where it was not tested.
        equivalence: the p of equivalence within `margin`, by Holm over the family; None where it was not tested.
        flip: the exact sign-flip test beside it.
        margin: differences within it count as the same, in accuracy.
        verdict: `BETTER`, `WORSE`, `SAME` or `OPEN`.
        needed: where it is open, the seeds that would settle it (see `compare`); None where the spread is unknown.
        constant: whether the difference is the same at every seed, which leaves no spread to judge by.
        negligible: whether equivalence is shown, be the difference found or not.
    """

    name: str
    difference: Estimate | None
    level: float
    joint: Estimate | None
    p: float | None
    adjusted: float | None
    equivalence: float | None
    flip: SignFlip | None
    margin: float
    verdict: str
    needed: int | None
    constant: bool
    negligible: bool

    def says(self) -> str:
        """Return the verdict in words."""
        within = "half a point" if self.margin == HALF_POINT else f"{100 * self.margin:g} points"
        if self.verdict in (BETTER, WORSE):
            return f"{self.verdict} (by less than {within})" if self.negligible else self.verdict
        if self.verdict == SAME:
            return f"same within {within}"
        if self.constant:
            return "not enough evidence: the difference is the same at every seed"
        return "not enough evidence" + (f": {self.needed} seeds needed" if self.needed else "")


def holm(probabilities: Sequence[float], alpha: float = ALPHA) -> tuple[Step, ...]:
    """Return Holm's step-down over p-values, in the order given; equal p-values get equal levels.

    Raises:
        BenchError: a p-value is NaN or infinite.
        ValueError: a p-value does not lie in 0 to 1.
    """
    held, m = finite(probabilities, "the p-values"), len(probabilities)
    if not all(0 <= p <= 1 for p in held):
        raise ValueError("a p-value lies between 0 and 1")
    steps: dict[float, Step] = {}
    adjusted, stopped = 0.0, None
    ordered = sorted(held)
    for p in dict.fromkeys(ordered):
        left = m - bisect_left(ordered, p)
        adjusted = max(adjusted, min(1.0, left * p))
        own = alpha / left if stopped is None else stopped
        rejected = stopped is None and p <= own
        stopped = stopped if rejected or stopped is not None else own
        steps[p] = Step(p, adjusted, own, rejected)
    return tuple(steps[p] for p in held)


def compare(
    pairs: Mapping[str, tuple[BySeed, BySeed]], margin: float = HALF_POINT, alpha: float = ALPHA
) -> tuple[Comparison, ...]:
    """Compare each a with its b, all of them as one family.

    A comparison that cannot be tested (under `FEWEST` shared seeds, or the same difference at every seed) counts in
    the family as if its p were 1. An open one needs so many seeds, more than it has, that at its spread and level a
    difference of `margin` would be found with probability `POWER`, and equivalence shown as often where there is none.

    Args:
        pairs: name -> (a by seed, b by seed), higher values better.
        margin: differences within it count as the same.
        alpha: the probability of any false difference in the family, and of any false equivalence.

    Raises:
        BenchError: a value is NaN or infinite.
    """
    differences = {name: _differences(a, b) for name, (a, b) in pairs.items()}
    constant = {name: _unvarying(a, b, differences[name]) for name, (a, b) in pairs.items()}
    tested = {n: interval(d) for n, d in differences.items() if len(d) >= FEWEST and not constant[n]}
    apart = holm([t_probability(tested[n]) if n in tested else 1.0 for n in pairs], alpha)
    alike = holm([tost(tested[n], margin) if n in tested else 1.0 for n in pairs], alpha)
    return tuple(
        _comparison(name, differences[name], name in tested, constant[name], (one, two), margin, alpha / len(pairs))
        for name, one, two in zip(pairs, apart, alike, strict=True)
    )


def _comparison(
    name: str, values: list[float], tested: bool, constant: bool, steps: tuple[Step, Step], margin: float, share: float
) -> Comparison:
    apart, alike = steps
    difference = interval(values, 1 - apart.alpha) if values else None
    verdict = OPEN
    if difference is not None and apart.rejected:
        verdict = BETTER if difference.mean > 0 else WORSE
    elif alike.rejected:
        verdict = SAME
    return Comparison(
        name=name,
        difference=difference,
        level=1 - apart.alpha,
        joint=interval(values, 1 - share) if values else None,
        p=apart.p if tested else None,
        adjusted=apart.adjusted if tested else None,
        equivalence=alike.adjusted if tested else None,
        flip=sign_flip(values),
        margin=margin,
        verdict=verdict,
        needed=_needed(difference, constant, steps, margin) if verdict == OPEN else None,
        constant=constant,
        negligible=alike.rejected,
    )


def _needed(difference: Estimate | None, constant: bool, steps: tuple[Step, Step], margin: float) -> int | None:
    if difference is None or difference.sd is None or constant:
        return None
    apart, alike = steps
    seen = seeds_needed(difference.sd, margin, POWER, 1 - apart.alpha, least=difference.n + 1)
    # Each of the two one-sided tests fails in half of the cases in which equivalence is missed.
    return seeds_needed(difference.sd, margin, (1 + POWER) / 2, 1 - 2 * alike.alpha, least=seen)


def _differences(a: BySeed, b: BySeed) -> list[float]:
    return finite((a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())), "the differences")


def _unvarying(a: BySeed, b: BySeed, differences: Sequence[float]) -> bool:
    if len(differences) < 2:
        return False
    scale = max(max(abs(a[seed]), abs(b[seed])) for seed in a.keys() & b.keys())
    return max(differences) - min(differences) <= 1e-9 * scale  # equal differences of decimals differ by rounding
