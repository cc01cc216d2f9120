"""Secondary figures: P(A > B) over paired seeds, the interquartile mean and performance profiles.

P(A > B) after Bouthillier et al. (2021); interquartile mean and profiles with a stratified bootstrap after Agarwal et
al. (2021). No verdict rests on them: a percentile bootstrap of few seeds covers less than it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from synobench.errors import BenchError
from synobench.stats import special
from synobench.stats.intervals import LEVEL, finite

Values = npt.NDArray[np.float64]
BySeed = Mapping[int, float]
Figure = Callable[[Values], Values]

GAMMA = 0.75
"""The P(A > B) from which on a difference is called meaningful (Bouthillier et al. 2021)."""

REPEATS = 10_000
CHUNK = 500  # resamples held at once; part of what a seed means


@dataclass(frozen=True)
class Superiority:
    """How often a beats b at one seed.

    Args:
        wins, ties, losses: numbers of paired seeds.
        probability: P(a > b), ties counted half.
        low, high: its interval.
    """

    wins: int
    ties: int
    losses: int
    probability: float
    low: float
    high: float

    @property
    def meaningful(self) -> bool:
        """Whether a beats b more often than not beyond chance, and may do so at three seeds of four."""
        return self.low > 0.5 and self.high > GAMMA


@dataclass(frozen=True)
class Bootstrapped:
    """A figure with its percentile interval; None where a block has one run, which says nothing of its spread."""

    value: float
    low: float | None
    high: float | None
    repeats: int
    seed: int


@dataclass(frozen=True)
class Profile:
    """For each threshold the fraction of runs above it, with pointwise intervals."""

    thresholds: tuple[float, ...]
    fractions: tuple[Bootstrapped, ...]


def superiority(a: BySeed, b: BySeed, level: float = LEVEL) -> Superiority | None:
    """Return P(a > b) over the seeds that both hold; None where they share none.

    The interval reaches from the lower Clopper-Pearson bound of the wins to the upper one of wins and ties together,
    so it covers at least at its level whatever the share of ties.

    Raises:
        BenchError: a value is NaN or infinite.
    """
    differences = finite([a[seed] - b[seed] for seed in a.keys() & b.keys()], "the differences")
    if not differences:
        return None
    wins, ties = sum([one > 0 for one in differences]), sum([one == 0 for one in differences])
    return _superior(wins, ties, len(differences), level)


@lru_cache(maxsize=2**12)
def _superior(wins: int, ties: int, n: int, level: float) -> Superiority:
    tail, up = (1 - level) / 2, wins + ties
    low = float(special.betaincinv(wins, n - wins + 1, tail)) if wins else 0.0
    high = float(special.betaincinv(up + 1, n - up, 1 - tail)) if up < n else 1.0
    return Superiority(wins, ties, n - up, (wins + ties / 2) / n, low, high)


def iqm(values: Sequence[float] | Values) -> float:
    """Return the interquartile mean: a quarter of the values (rounded down) left out at either end."""
    return float(_iqm(np.array([finite(values)]))[0])


def interquartile_mean(
    blocks: Mapping[str, BySeed], level: float = LEVEL, repeats: int = REPEATS, seed: int = 0
) -> Bootstrapped:
    """Return the interquartile mean over all runs, seeds resampled within each block.

    Args:
        blocks: block -> seed -> value.
        level: of the percentile interval.
        repeats: number of resamples.
        seed: of its own PCG64 generator.

    Raises:
        BenchError: a value is NaN or infinite, or a block has no run.
    """
    return _bootstrap(_strata(blocks), [_iqm], level, repeats, seed)[0]


def profile(
    blocks: Mapping[str, BySeed],
    thresholds: Sequence[float],
    level: float = LEVEL,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Profile:
    """Return the fraction of runs above each threshold, over all blocks; arguments as in `interquartile_mean`."""
    strata, levels = _strata(blocks), finite(thresholds, "the thresholds")
    found = _bootstrap(strata, [partial(_share, above=at) for at in levels], level, repeats, seed)
    return Profile(tuple(levels), tuple(found))


def _strata(blocks: Mapping[str, BySeed]) -> list[Values]:
    strata = [np.array(finite(blocks[name][seed] for seed in sorted(blocks[name]))) for name in sorted(blocks)]
    if not strata or not all(map(len, strata)):
        raise BenchError("a figure over blocks needs a run in every block")
    return strata


def _bootstrap(
    strata: Sequence[Values], figures: Sequence[Figure], level: float, repeats: int, seed: int
) -> list[Bootstrapped]:
    """Return figures of all values with their intervals, each computed on the same resamples."""
    values = np.concatenate(strata)
    whole = [float(figure(values[None, :])[0]) for figure in figures]
    if min(map(len, strata)) < 2:
        return [Bootstrapped(value, None, None, 0, seed) for value in whole]
    found = [[figure(rows) for figure in figures] for rows in map(values.take, _places(_sizes(strata), repeats, seed))]
    ends = [(1 - level) / 2, (1 + level) / 2]
    quantiles = [np.quantile(np.concatenate(column), ends) for column in zip(*found, strict=True)]
    return [
        Bootstrapped(v, float(low), float(high), repeats, seed) for v, (low, high) in zip(whole, quantiles, strict=True)
    ]


def _sizes(strata: Sequence[Values]) -> tuple[int, ...]:
    return tuple(map(len, strata))


@lru_cache(maxsize=1)
def _places(sizes: tuple[int, ...], repeats: int, seed: int) -> list[npt.NDArray[np.int32]]:
    """Return resamples within strata, chunk by chunk, as places in all values; entries of one shape share them."""
    draw = np.random.Generator(np.random.PCG64(seed))
    starts = np.cumsum([0, *sizes[:-1]])
    chunks = []
    for start in range(0, repeats, CHUNK):
        count = min(CHUNK, repeats - start)
        drawn = [at + draw.integers(size, size=(count, size)) for at, size in zip(starts, sizes, strict=True)]
        chunks.append(np.concatenate(drawn, axis=1).astype(np.int32))
    return chunks


def _iqm(rows: Values) -> Values:
    cut = rows.shape[1] // 4
    ordered = np.sort(rows, axis=1)
    return np.asarray(ordered[:, cut : rows.shape[1] - cut].mean(axis=1))


def _share(rows: Values, above: float) -> Values:
    return np.asarray(np.count_nonzero(rows > above, axis=1) / rows.shape[1])
