"""Entries across networks: their areas under accuracy, ranked and tested with a network as block.

Verdicts across networks rest on exact signed-rank tests with Holm. What is secondary says so: P(A > B) over blocks,
interquartile means and performance profiles of the share of the dense control's accuracy.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from synobench.board.curves import CurveSummary
from synobench.stats.across import FEWEST_BLOCKS, Across, Pair, across, pooled
from synobench.stats.ranks import Friedman
from synobench.stats.robust import Bootstrapped, Profile, Superiority, interquartile_mean, profile, superiority

SHARES = (0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
"""The thresholds of the performance profiles: shares of the dense control's accuracy."""

Curves = Mapping[str, CurveSummary]
Place = tuple[str, str, Curves]
"""A network's label, its data set, and the curves on it."""


@dataclass(frozen=True)
class Standing:
    """What a board tells across networks.

    Args:
        kind: of the targets that the curves run over.
        test: ranks, Friedman's test, pairs and cliques with a network as block; a value is a mean area over seeds.
        by_dataset: the same with a data set as block, where several networks share one; else None.
        superiority: (a, b) -> in how many blocks a is above b, for each pair in the order of ranks.
        iqm: interquartile mean of the shares over all runs. `profiles`: how many of them lie above each of `SHARES`.
        left_out: entries that lack a value in one of the blocks.
    """

    kind: str
    test: Across
    by_dataset: Across | None
    superiority: Mapping[tuple[str, str], Superiority]
    iqm: Mapping[str, Bootstrapped]
    profiles: Mapping[str, Profile]
    left_out: tuple[str, ...]
    values: Mapping[str, Mapping[str, float]] = field(repr=False)

    @property
    def ranks(self) -> Mapping[str, float]:
        """Entry -> mean rank, 1 the best, in this order."""
        return self.test.ranks

    @property
    def blocks(self) -> tuple[str, ...]:
        """The networks in which every entry has a value."""
        return self.test.blocks

    @property
    def friedman(self) -> Friedman | None:
        """Friedman's test of all entries."""
        return self.test.friedman

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every two entries with their signed-rank test."""
        return self.test.pairs

    @property
    def cliques(self) -> tuple[tuple[str, ...], ...]:
        """The largest groups without a pair that is apart."""
        return self.test.cliques

    def says(self) -> str:
        """Return in words what the ranks can tell."""
        return self.test.says()


def stand(places: Iterable[Place]) -> Standing | None:
    """Compare the entries across networks; None below `FEWEST_BLOCKS` networks, or with one entry alone."""
    held = list(places)
    kind, values = _values(held)
    ranked = _widest(values)
    if len(ranked) < 2 or count(held) < FEWEST_BLOCKS:
        return None
    test = across(ranked)
    datasets = {label: dataset for label, dataset, _ in held}
    joined = len({datasets[block] for block in test.blocks}) < len(test.blocks)
    shares = _shares(held, kind, list(test.ranks), test.blocks)
    return Standing(
        kind=kind,
        test=test,
        by_dataset=across(pooled(ranked, datasets.__getitem__)) if joined else None,
        superiority=_superiorities(ranked, test),
        iqm={name: interquartile_mean(runs) for name, runs in shares.items()},
        profiles={name: profile(runs, SHARES) for name, runs in shares.items()},
        left_out=tuple(sorted(values.keys() - ranked.keys())),
        values=ranked,
    )


def count(places: Iterable[Place]) -> int:
    """Return the number of blocks: networks in which the entry that has most of them has an area."""
    _, values = _values(list(places))
    return max(map(len, values.values()), default=0)


def _values(places: Sequence[Place]) -> tuple[str, dict[str, dict[str, float]]]:
    """Return the kind of targets with most areas, and entry -> network -> its mean area over seeds there."""
    kinds: dict[str, dict[str, dict[str, float]]] = {}
    for label, _, curves in places:
        for name, curve in curves.items():
            if curve.area is not None:
                kinds.setdefault(curve.kind, {}).setdefault(name, {})[label] = curve.area.mean
    if not kinds:
        return "", {}
    kind = max(sorted(kinds), key=lambda kind: sum(map(len, kinds[kind].values())))
    return kind, kinds[kind]


def _widest(values: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    """Return the entries that have a value in every block of the one that has most, and their values there."""
    if not values:
        return {}
    first = min(values, key=lambda name: (-len(values[name]), name))
    blocks = values[first].keys()
    return {name: {b: held[b] for b in blocks} for name, held in sorted(values.items()) if blocks <= held.keys()}


def _superiorities(values: Mapping[str, Mapping[str, float]], test: Across) -> dict[tuple[str, str], Superiority]:
    columns = {name: dict(enumerate(values[name][block] for block in test.blocks)) for name in test.ranks}
    pairs = {(a, b): superiority(columns[a], columns[b]) for a, b in itertools.combinations(test.ranks, 2)}
    return {names: found for names, found in pairs.items() if found is not None}


def _shares(
    places: Sequence[Place], kind: str, names: Sequence[str], blocks: Sequence[str]
) -> dict[str, dict[str, Mapping[int, float]]]:
    """Return entry -> network -> seed -> share; an entry without shares in every block is left out."""
    found: dict[str, dict[str, Mapping[int, float]]] = {name: {} for name in names}
    for label, _, curves in places:
        for name in names:
            curve = curves.get(name)
            if label in blocks and curve is not None and curve.kind == kind and curve.shares:
                found[name][label] = curve.shares
    return {name: held for name, held in found.items() if len(held) == len(blocks)}
