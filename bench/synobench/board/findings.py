"""What the statistics of a board say, as tables of plain text with their heads first: the same in every medium."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synobench.board.across import SHARES, Standing
from synobench.board.build import Board, Network
from synobench.board.figures import GAP, fixed, percent
from synobench.board.rows import Row
from synobench.protocol import RULE
from synobench.stats.curves import AtLoss
from synobench.stats.evidence import Mcnemar, SignFlip
from synobench.stats.intervals import ALPHA
from synobench.stats.multiple import OPEN, SAME, Comparison
from synobench.stats.robust import Bootstrapped, Superiority

EFFORT = "prune-cpu-seconds"
"""The metric that tells what pruning takes wherever others share the machine."""

_FIGURES = "mean area, top-1 %", "IQM of the dense accuracy, %"

Lines = list[tuple[str, ...]]


def verdict(found: Comparison | None, *, short: bool = False) -> str:
    """Write a verdict in few words: ``better``, ``worse``, ``same within 0.5``, ``open: 9 seeds needed``.

    Args:
        found: the comparison; nothing is written of none.
        short: for a terminal: ``same``, ``open: 9``.
    """
    if found is None:
        return ""
    if found.verdict == SAME:
        return SAME if short else f"{SAME} within {100 * found.margin:g}"
    if found.verdict != OPEN:
        return f"{found.verdict} (< {100 * found.margin:g})" if found.negligible else found.verdict
    if found.constant:
        return f"{OPEN}: no spread"
    return f"{OPEN}: {found.needed}{'' if short else ' seeds needed'}" if found.needed else OPEN


def probability(p: float | None) -> str:
    """Write a p-value: ``0.438``, ``0.0625``, ``< 0.001``."""
    if p is None:
        return GAP
    return "< 0.001" if p < 0.001 else fixed(p, 3 if p >= 0.1 else 4)


def sign_flip(found: SignFlip | None) -> str:
    """Write the p of a sign-flip test with its floor: ``0.125 (0.0625)``."""
    return GAP if found is None else f"{probability(found.p)} ({probability(found.floor)})"


def at_loss(found: AtLoss | None, *, most: bool = False, digits: int = 2) -> str:
    """Write a crossing with its interval, or as a bound: ``6.76 [6.45, 7.09]``, ``≥ 18.69``.

    Args:
        found: the crossing.
        most: whether a bound says at most, as it does of SynOps.
        digits: behind the point.
    """
    if found is None:
        return GAP
    if found.bounded:
        return f"{'≤' if most else '≥'} {fixed(found.value, digits)}"
    return _between(found.value, found.low, found.high, digits)


def chance(found: Superiority | None) -> str:
    """Write P(A > B) with its interval: ``0.60 [0.15, 0.95]``."""
    return GAP if found is None else _between(found.probability, found.low, found.high)


def to_reference(row: Row, network: Network) -> str:
    """Write the difference to the reference entry at the same target; the reference says that it is it."""
    if row.verdict is None:
        return "reference" if row.reference and row.runs and network.reference else GAP
    return percent(row.verdict.difference, sign=True)


def verdicts(network: Network) -> Lines:
    """Return the comparisons of a network with its reference entry and its dense control."""
    rows = [row for row in network.rows if row.verdict or row.to_control]
    if not rows:
        return []
    told, name = any(row.verdict for row in rows), network.reference or ""
    against = (f"to {name}", "verdict", "p", "sign-flip p (floor)", "P(A > B)", "McNemar") if told else ()
    dense = any(row.to_control for row in rows)
    heads = ("target", "entry", *against, *(("to dense", "verdict on dense", "p to dense") if dense else ()))
    parts = ((_against(row) if told else (), _dense(row) if dense else ()) for row in rows)
    return [heads, *((row.target_label, row.label, *a, *d) for row, (a, d) in zip(rows, parts, strict=True))]


def curves(network: Network) -> Lines:
    """Return what each entry of a network reaches over all targets."""
    if not network.curves:
        return []
    heads = ("entry", "area, top-1 %", "compression at 1 point", "SynOps at 1 point", "seeds left out")
    rows = [
        (
            name,
            percent(curve.area),
            at_loss(curve.compression),
            at_loss(curve.synops, most=True, digits=3),
            " ".join(map(str, curve.left_out)) or GAP,
        )
        for name, curve in network.curves.items()
    ]
    return [heads, *rows] if any(curve.left_out for curve in network.curves.values()) else [heads[:-1], *_cut(rows)]


def effort(network: Network) -> Lines:
    """Return what pruning took by entry and target, in seconds of the processor, where one machine measured them all.

    Entries that make no pass through the network have no place among those whose cost they would be compared with.
    """
    held: dict[str, dict[str, float]] = {}
    targets: dict[str, None] = {}
    for row in network.rows:
        spent, passes = row.mean_columns.get(EFFORT), row.mean_cost["prune"]["forward"]
        if spent is not None and passes is not None and passes > 0:
            held.setdefault(row.label, {})[row.target_label] = spent
            targets[row.target_label] = None
    shared = [target for target in targets if all(target in spent for spent in held.values())]
    if not shared or len(network.machines) > 1:
        return []
    means = {name: sum(spent[target] for target in shared) / len(shared) for name, spent in held.items()}
    least = min(means.values())
    rows = [
        (name, *(_seconds(spent.get(target)) for target in targets), fixed(means[name] / least) if least else GAP)
        for name, spent in held.items()
    ]
    return [("entry", *targets, "to the least"), *rows]


def _seconds(spent: float | None) -> str:
    return GAP if spent is None else fixed(spent, 1 if spent >= 10 else 2)


def standing(board: Board) -> Lines:
    """Return the entries across networks: ranks first, then what is secondary; empty below six blocks."""
    found = board.across
    if found is None:
        return []
    shares = tuple(f"runs above {100 * share:g} %" for share in SHARES)
    by_dataset = ("rank by data set",) if found.by_dataset else ()
    rules = board.suite.versus == RULE
    figures = ("mean top-1 %", "IQM of the reference's, %") if rules else _FIGURES
    heads = ("entry", "mean rank", *by_dataset, *figures, *shares)
    return [heads, *(_standing(name, found) for name in found.ranks)]


def pairs(board: Board) -> Lines:
    """Return every two entries across networks with their signed-rank test; empty below six blocks."""
    found = board.across
    if found is None:
        return []
    heads = ("entry", "against", "signed-rank p", "p by Holm", "told apart", "P(A > B), by networks")
    return [
        heads,
        *(
            (
                pair.a,
                pair.b,
                probability(pair.test.p),
                probability(pair.adjusted),
                "yes" if pair.apart else "no",
                chance(found.superiority.get((pair.a, pair.b))),
            )
            for pair in found.pairs
        ),
    ]


def _against(row: Row) -> tuple[str, ...]:
    found = row.verdict
    if found is None:
        return (GAP, "", *[GAP] * 4)
    gap, within = percent(found.difference, sign=True), _within(row.mcnemar)
    return gap, verdict(found), probability(found.adjusted), sign_flip(found.flip), chance(row.superiority), within


def _dense(row: Row) -> tuple[str, ...]:
    found = row.to_control
    if found is None:
        return GAP, "", GAP
    return percent(found.difference, sign=True), verdict(found), probability(found.adjusted)


def _within(tests: Mapping[int, Mcnemar]) -> str:
    """Say at how many seeds McNemar's test rejects."""
    return f"{sum(test.p <= ALPHA for test in tests.values())} of {len(tests)}" if tests else GAP


def _standing(name: str, found: Standing) -> tuple[str, ...]:
    values = [found.values[name][block] for block in found.blocks]
    by_dataset = (fixed(found.by_dataset.ranks[name]),) if found.by_dataset else ()
    shares = found.profiles[name].fractions if name in found.profiles else [None] * len(SHARES)
    mean = fixed(100 * sum(values) / len(values))
    return (name, fixed(found.ranks[name]), *by_dataset, mean, _boot(found.iqm.get(name)), *map(_boot_short, shares))


def _boot(found: Bootstrapped | None) -> str:
    if found is None:
        return GAP
    low, high = (None if end is None else 100 * end for end in (found.low, found.high))
    return _between(100 * found.value, low, high)


def _boot_short(found: Bootstrapped | None) -> str:
    return GAP if found is None else f"{fixed(100 * found.value, 0)} %"


def _between(value: float, low: float | None, high: float | None, digits: int = 2) -> str:
    told = "" if low is None or high is None else f" [{fixed(low, digits)}, {fixed(high, digits)}]"
    return fixed(value, digits) + told


def _cut(rows: Sequence[tuple[str, ...]]) -> Lines:
    return [row[:-1] for row in rows]
