"""Methods across blocks (data x network): mean ranks, which pairs are apart, and what so few blocks can tell.

Friedman's test asks whether any method differs. Which pairs do is asked of each pair alone, by Wilcoxon's exact
signed-rank test with Holm over all pairs: mean-rank post-hoc tests let a third method decide about two (Benavoli,
Corani, Mangili 2016). Under six blocks no exact test can reject at 5 %, so the ranks are descriptive.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from synobench.errors import BenchError
from synobench.stats.intervals import ALPHA, finite, mean
from synobench.stats.multiple import holm
from synobench.stats.ranks import Friedman, SignedRank, Values, cliques, friedman, levelled, midranks, signed_rank

ByBlock = Mapping[str, float]

FEWEST_BLOCKS = 6
"""The fewest blocks at which an exact two-sided signed-rank test can reject at 5 %: 2^(1 - 6) = 0.031."""


@dataclass(frozen=True)
class Pair:
    """Two methods across blocks: their signed-rank test, its p by Holm over all pairs, and whether they are apart."""

    a: str
    b: str
    test: SignedRank
    adjusted: float
    apart: bool


@dataclass(frozen=True)
class Across:
    """Methods across blocks.

    Args:
        ranks: method -> mean rank over the blocks, 1 the best, in this order.
        blocks: the blocks in which every method has a value. `left_out`: the others.
        friedman: the test of all methods; None where the ranks are descriptive.
        pairs: all pairs; empty where the ranks are descriptive.
        cliques: the largest groups without a pair that is apart, the bars of a critical-difference diagram.
        floor: the least p by Holm that so many blocks and pairs can give.
        alpha: the probability of any false pair.
    """

    ranks: Mapping[str, float]
    blocks: tuple[str, ...]
    left_out: tuple[str, ...]
    friedman: Friedman | None
    pairs: tuple[Pair, ...]
    cliques: tuple[tuple[str, ...], ...]
    floor: float
    alpha: float

    @property
    def descriptive(self) -> bool:
        """Whether there are too few blocks for any test."""
        return self.friedman is None

    def says(self) -> str:
        """Return in words what the ranks can tell."""
        n = f"{len(self.blocks)} block{'' if len(self.blocks) == 1 else 's'}"
        if self.descriptive:
            return f"descriptive: {n}, and fewer than {FEWEST_BLOCKS} cannot reject at {100 * self.alpha:g} %"
        if self.floor > self.alpha:
            return f"{n} cannot set any pair of {len(self.ranks)} methods apart (least adjusted p {self.floor:.2g})"
        found = sum(pair.apart for pair in self.pairs)
        return f"{n}, {found} of {len(self.pairs)} pairs apart"


def across(values: Mapping[str, ByBlock], alpha: float = ALPHA) -> Across:
    """Compare methods across blocks.

    Args:
        values: method -> block -> its value there, as the mean over seeds; higher is better.
        alpha: the probability of any false pair.

    Raises:
        BenchError: a value is NaN or infinite, there is one method alone, or no block has all methods.
    """
    if len(values) < 2:
        raise BenchError("ranks across blocks need two methods at least")
    seen = sorted({block for held in values.values() for block in held})
    blocks = tuple(block for block in seen if all(block in held for held in values.values()))
    if not blocks:
        raise BenchError("no block has a value of every method: there is nothing to rank")
    names = sorted(values)
    table = levelled(np.array([[values[name][block] for name in names] for block in blocks], float))
    means = np.stack([midranks(-row) for row in table]).mean(axis=0)
    ranks = dict(sorted(zip(names, map(float, means), strict=True), key=lambda item: (item[1], item[0])))
    tests = len(names) * (len(names) - 1) // 2
    left_out = tuple(block for block in seen if block not in blocks)
    floor = min(1.0, tests * 2.0 ** (1 - len(blocks)))
    if len(blocks) < FEWEST_BLOCKS:
        return Across(ranks, blocks, left_out, None, (), (), floor, alpha)
    columns = {name: table[:, names.index(name)] for name in ranks}
    pairs = _pairs(columns, alpha)
    bars = cliques(list(ranks), [(pair.a, pair.b) for pair in pairs if not pair.apart])
    return Across(ranks, blocks, left_out, friedman(table), pairs, bars, floor, alpha)


def pooled(values: Mapping[str, ByBlock], group: Callable[[str], str]) -> dict[str, dict[str, float]]:
    """Join the blocks of one group (as all networks on one data set) by their mean: such blocks are not independent.

    Args:
        values: method -> block -> value.
        group: the group of a block.
    """
    found: dict[str, dict[str, float]] = {}
    for method, held in values.items():
        groups: dict[str, list[float]] = {}
        for block in sorted(held):
            groups.setdefault(group(block), []).append(held[block])
        found[method] = {name: mean(finite(those)) for name, those in groups.items()}
    return found


def _pairs(columns: Mapping[str, Values], alpha: float) -> tuple[Pair, ...]:
    tests = [(a, b, signed_rank(columns[a] - columns[b])) for a, b in itertools.combinations(columns, 2)]
    steps = holm([test.p for _, _, test in tests], alpha)
    return tuple(Pair(a, b, t, s.adjusted, s.rejected) for (a, b, t), s in zip(tests, steps, strict=True))
