"""The sentences of a board, in plain text: how to read it, what it could have seen, what is missing, what failed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from synobench.board import versus
from synobench.board.across import count
from synobench.board.build import Board, Machine, Network
from synobench.board.figures import fixed, seeds
from synobench.board.rows import FEW, FEWEST
from synobench.board.verdicts import Power
from synobench.protocol import RULE
from synobench.stats.across import FEWEST_BLOCKS

CHECKLIST = (
    "Every entry, graded from the records alone by the checklist of Blalock et al., What is the state of neural "
    "network pruning?, MLSys 2020."
)
"""What stands above the checklist."""


def reading(board: Board) -> list[str]:
    """Return how the figures came about, one sentence or two a line."""
    counter = board.suite.counter
    definition = board.suite.definitions.get(counter, "")
    return [
        "Top-1 is the accuracy on the test split in per cent: the mean over seeds ± the half-width of its Student-t "
        "95 % interval, never the best of seeds.",
        _difference(board),
        f"SynOps are operations a sample by the counter `{counter}`{': ' if definition else ''}{definition}; "
        f"the ratio is to the {_dense(board)}.",
        "Entries are ranked by mean within a target. Best group (marked, or bold): the first place is not shown to be "
        "better, by paired t-tests under Holm's step-down over the entries of the target.",
        *_verdicts(board),
        *_twins(board),
        *_released(board),
        f"Fewer than {FEWEST} seeds are not ranked and stand below the line; fewer than {FEW} are marked as few.",
    ]


def _of_rules(board: Board) -> bool:
    return board.suite.versus == RULE


def _dense(board: Board) -> str:
    return "dense network of the same rule and seed" if _of_rules(board) else "dense control of the same seed"


def _difference(board: Board) -> str:
    if not _of_rules(board):
        return (
            "Difference is to the dense control `none`, which is fine-tuned on the same budget, paired by seed, in "
            "points."
        )
    return (
        "Entries are training rules on one network, one budget and one set of seeds: initial weights, order of images "
        "and split are the same for all. An entry of a rule and a pruner is pruned after that rule and fine-tuned by "
        "it. Differences are paired by seed, in points: to the reference rule with the same pruner at the same target, "
        "and to the unpruned (dense) network of the entry's own rule."
    )


def _verdicts(board: Board) -> list[str]:
    names = sorted({network.reference for network in board.networks if network.reference})
    told = []
    if names:
        listed = " or ".join(f"`{name}`" for name in names)
        told.append(
            f"Verdict: against {listed} at the same target, by paired t-tests under Holm's step-down over all such "
            "comparisons on a network; its intervals stand at the level of that test. Same within 0.5: shown to lie "
            "within half a point (two one-sided t-tests); (< 0.5): found, and shown to be under half a point; open: "
            "neither is shown, and so many seeds would settle it. The sign-flip p stands beside its floor and decides "
            "nothing; McNemar: the seeds at which it rejects, image by image."
        )
    if any(network.curves for network in board.networks):
        told.append(
            "Area: the mean accuracy along log2(compression) over all targets. Compression and SynOps (over the dense "
            "control's) at 1 point: where accuracy has fallen one point below the dense control's, with 95 % "
            "intervals; ≥ or ≤ where a seed never falls so far."
        )
    return told


def _twins(board: Board) -> list[str]:
    if not board.twins:
        return []
    return [
        "A twin is `magnitude` or `random` pruning at the entry's own kept counts, tensor by tensor, on the same "
        "parent, seed and fine-tuning. The gain over it stands with the interval that its verdict rests on, by Holm "
        "over the gains on a network over twins of one kind; without a verdict there is not enough evidence. "
        "Same network: equal hits image by image and equal ledgers, at every seed.",
    ]


def _released(board: Board) -> list[str]:
    rows = [(network.label, row) for network in board.networks for row in network.rows]
    parents = [(label, run.inputs["parent"]) for label, row in rows for run in row.runs]
    held = {(label, p["checkpoint"], str(p.get("digest"))[:19]) for label, p in parents if "checkpoint" in p}
    return [
        f"{label} stands on the checkpoint `{name}` ({digest}): one network for all seeds, trained elsewhere. What "
        "that cost is a gap, and it may know the images that are held out for validation here."
        for label, name, digest in sorted(held)
    ]


def badges(board: Board) -> list[str]:
    """Return how many items of the checklist each entry meets, one line an entry."""
    return [f"{checklist.entry}: {checklist.badge}" for checklist in board.checklists]


def power(network: Network) -> list[str]:
    """Return what chance does to a network's figures: sampling error and the smallest difference in sight."""
    told = []
    if network.sampling is not None and network.images is not None:
        told.append(
            f"Sampling error: {network.images:,} test images alone give "
            f"± {fixed(100 * network.sampling)} points (95 %)."
        )
    told += list(map(_seen, network.power))
    if network.rows and not network.power:
        told.append("Smallest difference that it could have seen: not known, for too few paired seeds.")
    return told


def _seen(power: Power) -> str:
    return (
        f"Smallest difference that it could have seen: {fixed(100 * power.smallest)} points to {power.against} in one "
        f"comparison alone, {fixed(100 * power.strict)} at the strictest level of its {power.family} ({power.pairs} "
        "paired seeds, at the median spread of the entries, found four times in five); half a point needs "
        f"{power.needed} seeds."
    )


def across(board: Board) -> list[str]:
    """Return what the board tells across its networks, or how many more it needs for that."""
    found = board.across
    if found is None:
        return _lacking(board)
    what = "Accuracy of unpruned networks" if _of_rules(board) else "Area under accuracy"
    told = [f"{what}, with each network as a block: {found.says()}."]
    if (test := found.friedman) is not None:
        f = "infinite" if math.isinf(test.f) else fixed(test.f)
        told.append(f"Friedman's test (Iman and Davenport): F({test.df[0]}, {test.df[1]}) = {f}, {_p(test.p)}.")
    told += [f"Not told apart: {', '.join(clique)}." for clique in found.cliques]
    if found.by_dataset:
        told.append(f"Each data set counted once: {found.by_dataset.says()}.")
    if found.left_out:
        told.append(f"Without a value in every block, and so not ranked: {', '.join(found.left_out)}.")
    return told


def _lacking(board: Board) -> list[str]:
    if not any(curves for _, _, curves in versus.places(board.networks)):
        return []
    n = count(versus.places(board.networks))
    what = "on which every rule that has most of them ran" if _of_rules(board) else "with an area under accuracy"
    told = f"{n} {'block' if n == 1 else 'blocks'} (a data set with a network) {what}"
    if n >= FEWEST_BLOCKS:
        return [f"{told}, and fewer than two entries that have one in each: nothing to rank."]
    return [
        f"{told}: ranks are descriptive. {FEWEST_BLOCKS - n} more are needed for a test across them, for fewer than "
        f"{FEWEST_BLOCKS} cannot reject at 5 %."
    ]


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {fixed(value, 3)}"


def missing(network: Network) -> list[str]:
    """Return the gaps of a network, one row each."""
    return [f"{row.label}, {row.target_label}: {seeds(row.missing)}" for row in network.rows if row.missing]


def failures(board: Board) -> list[str]:
    """Return the failed runs, with stage, plugin and key."""
    return [f"{f.label}: {f.plugin} failed at {f.stage}: {f.message} (key {f.key})" for f in board.failures]


def machines(board: Board) -> list[str]:
    """Return the machines with their yardsticks."""
    return [f"{m.text}: {m.runs} runs{''.join(_yardstick(m))}" for m in board.machines]


def _yardstick(machine: Machine) -> Iterator[str]:
    for held, unit in ((machine.gflops, "GFLOP/s"), (machine.gbps, "GB/s")):
        if held is not None:
            low, high = (fixed(value, 1) for value in held)
            yield f", {low} {unit}" if low == high else f", {low} to {high} {unit}"


def entries(board: Board) -> list[tuple[str, str]]:
    """Return each entry's label with all of its parameters, where the label tells less.

    A rule may have other parameters on each network, and is then told with it.
    """
    held: dict[tuple[str, str], list[str]] = {}
    for network in board.networks:
        for row in network.rows:
            if row.entry != row.detail and network.label not in held.setdefault((row.entry, row.detail), []):
                held[row.entry, row.detail].append(network.label)
    several = {entry for entry, n in Counter(entry for entry, _ in held).items() if n > 1}
    return sorted(
        (f"{entry} on {', '.join(where)}" if entry in several else entry, detail)
        for (entry, detail), where in held.items()
    )


def command(board: Board) -> str:
    """Return the command that builds the board again."""
    return f"synobench board {board.suite.name}"
