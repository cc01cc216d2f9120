"""Exact and approximate tests on ranks: Friedman's, Wilcoxon's signed-rank test, and cliques of what they join.

Friedman's test in the form of Iman and Davenport (1980); Wilcoxon's (1945) from its full distribution, ties included.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synobench.errors import BenchError
from synobench.stats import special
from synobench.stats.intervals import finite

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Friedman:
    """Friedman's test of `blocks` x `methods` values.

    Args:
        blocks, methods: the size of the table.
        chi2: Friedman's statistic, corrected for ties.
        f: Iman and Davenport's F of it; infinite where all blocks agree.
        df: degrees of freedom of F.
        p: its p, never below the chance that all blocks agree, (methods!)^(1 - blocks).
    """

    blocks: int
    methods: int
    chi2: float
    f: float
    df: tuple[int, int]
    p: float


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's exact signed-rank test.

    Args:
        n: number of differences other than 0.
        plus, minus: the sums of the ranks of positive and of negative differences.
        p: two-sided, from the distribution over all 2^n signs given the ranks (ties included).
    """

    n: int
    plus: float
    minus: float
    p: float


def midranks(values: Sequence[float] | Values) -> Values:
    """Return the ranks of `values` from the smallest, 1, on; ties share their mean rank."""
    _, place, count = np.unique(np.asarray(values, float), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place], float)


def friedman(table: Sequence[Sequence[float]] | Values) -> Friedman:
    """Test whether the methods (columns) rank alike in the blocks (rows).

    Raises:
        BenchError: a value is NaN or infinite, or the table has one row or one column.
    """
    levels = levelled(np.asarray(table, float))
    if levels.ndim != 2 or min(levels.shape) < 2:
        raise BenchError("Friedman's test needs two blocks and two methods at least")
    n, k = levels.shape
    ranks = np.stack([midranks(row) for row in levels])
    between = float(((ranks.sum(axis=0) - n * (k + 1) / 2) ** 2).sum())
    within = float((ranks**2).sum()) - n * k * (k + 1) ** 2 / 4
    chi2 = (k - 1) * between / within if within > 0 else 0.0
    rest, df = n * (k - 1) - chi2, (k - 1, (k - 1) * (n - 1))
    if rest <= 1e-9 * n:
        return Friedman(n, k, chi2, math.inf, df, math.exp((1 - n) * math.lgamma(k + 1)))
    f = (n - 1) * chi2 / rest
    return Friedman(n, k, chi2, f, df, max(float(special.fdtrc(*df, f)), math.exp((1 - n) * math.lgamma(k + 1))))


def signed_rank(differences: Iterable[float]) -> SignedRank:
    """Test whether the differences lie around 0; those that are 0 are left out.

    Raises:
        BenchError: a difference is NaN or infinite.
    """
    held = levelled(np.array(finite(differences, "the differences")))
    held = held[held != 0]
    doubled = (2 * midranks(np.abs(held))).astype(int)  # midranks are halves
    plus, total = int(doubled[held > 0].sum()), int(doubled.sum())
    chance = np.zeros(total + 1)
    chance[0] = 1.0
    for rank in doubled:
        chance[rank:] = (chance[rank:] + chance[: total + 1 - rank]) / 2
        chance[:rank] /= 2
    p = min(1.0, 2 * math.fsum(chance[: min(plus, total - plus) + 1]))
    return SignedRank(len(held), plus / 2, (total - plus) / 2, p)


def cliques(names: Sequence[str], joined: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """Return the maximal groups of two or more names in which every pair is joined, in the order of `names`."""
    near: dict[str, set[str]] = {name: set() for name in names}
    for a, b in joined:
        near[a].add(b)
        near[b].add(a)
    place = {name: i for i, name in enumerate(names)}
    found = [tuple(sorted(group, key=place.__getitem__)) for group in _grow(set(), set(names), set(), near)]
    return tuple(
        sorted((group for group in found if len(group) > 1), key=lambda group: [place[name] for name in group])
    )


def _grow(held: set[str], open_: set[str], done: set[str], near: Mapping[str, set[str]]) -> Iterator[set[str]]:
    """Bron and Kerbosch (1973), with a pivot."""
    if not open_ and not done:
        yield held
        return
    pivot = max(sorted(open_ | done), key=lambda name: len(near[name] & open_))
    for name in sorted(open_ - near[pivot]):
        yield from _grow(held | {name}, open_ & near[name], done & near[name], near)
        open_, done = open_ - {name}, done | {name}


def levelled(values: Values) -> Values:
    """Return values in units of the largest, rounded to twelve digits: equal decimals are ties."""
    finite(values.ravel(), "the blocks")
    scale = float(np.abs(values).max(initial=0.0))
    return np.round(values / scale, 12) if scale else values
