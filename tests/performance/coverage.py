"""What the intervals and verdicts of the bench cover: draws with a known truth, and how often each one holds it.

Run as a script; see COVERAGE.md beside it. Each row is a trial: draw n seeds, ask the public function, say whether it
held. All draws are Gaussian, but for the last two rows, which count hits.
"""

from __future__ import annotations

import argparse
import itertools
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from synobench import stats
from synobench.stats import curves, multiple, robust

SEEDS = (3, 5, 10)
SD = 0.004
Draw = np.random.Generator
BySeed = dict[int, float]


@dataclass(frozen=True)
class Row:
    """How often `holds(draw, n)` is true, what that is meant to be, and one in how many trials it takes."""

    holds: Callable[[Draw, int], bool]
    nominal: str
    share: int = 1


def seeds(values: np.ndarray) -> BySeed:
    """Return values by seed."""
    return {seed: float(value) for seed, value in enumerate(values)}


def pair(draw: Draw, n: int, apart: float = 0.0) -> tuple[BySeed, BySeed]:
    """Return two entries that share what a seed does to both."""
    shared = draw.normal(0.9, SD, n)
    return seeds(shared + draw.normal(apart, SD, n)), seeds(shared + draw.normal(0, SD, n))


def mean_holds(draw: Draw, n: int) -> bool:
    """Student's t, of a mean."""
    return bool(stats.interval(draw.normal(0.9, SD, n).tolist()).holds(0.9))


def difference_holds(draw: Draw, n: int) -> bool:
    """Student's t, of paired differences."""
    found = stats.paired(*pair(draw, n, 0.002))
    return found is not None and bool(found.holds(0.002))


def ratio_holds(draw: Draw, n: int) -> bool:
    """Student's t, of paired ratios: 30 +- 2 over 100 +- 5."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    truth = 30 * float((weights / (100 + 5 * nodes)).sum()) / math.sqrt(2 * math.pi)
    found = stats.paired_ratio(seeds(draw.normal(30, 2, n)), seeds(draw.normal(100, 5, n)))
    return found is not None and bool(found.holds(truth))


def family(draw: Draw, n: int, truths: tuple[float, ...]) -> list[tuple[float, multiple.Comparison]]:
    """Return (truth, comparison) of one family against a shared reference."""
    reference = draw.normal(0.9, SD, n)
    pairs = {str(i): (seeds(reference + draw.normal(t, SD, n)), seeds(reference)) for i, t in enumerate(truths)}
    return list(zip(truths, multiple.compare(pairs), strict=True))


NULL = (0.0,) * 5
APART = (0.1, 0.2, 0.3, 0.4, 0.5)
SOME = (0.0, 0.0, 0.0, 0.02, 0.02)
EDGE = (stats.HALF_POINT, -stats.HALF_POINT, stats.HALF_POINT, -stats.HALF_POINT, stats.HALF_POINT)


def all_hold(truths: tuple[float, ...], joint: bool) -> Callable[[Draw, int], bool]:
    """Whether all intervals of a family hold their truths, at Holm's levels or at the joint one."""

    def holds(draw: Draw, n: int) -> bool:
        found = [(truth, one.joint if joint else one.difference) for truth, one in family(draw, n, truths)]
        return all(one is not None and one.holds(truth) for truth, one in found)

    return holds


def one_holds(draw: Draw, n: int) -> bool:
    """One interval at Holm's level, of a family in which some differences are real."""
    truth, one = family(draw, n, SOME)[int(draw.integers(len(SOME)))]
    return one.difference is not None and bool(one.difference.holds(truth))


def no_false_difference(draw: Draw, n: int) -> bool:
    """Whether no verdict of better or worse falls on a true 0."""
    return not any(t == 0 and one.verdict in (multiple.BETTER, multiple.WORSE) for t, one in family(draw, n, SOME))


def no_false_equivalence(draw: Draw, n: int) -> bool:
    """Whether no verdict of the same falls on differences of just the margin."""
    return not any(one.negligible for _, one in family(draw, n, EDGE))


def superiority_holds(draw: Draw, n: int) -> bool:
    """P(A > B) by Clopper-Pearson, where it is Phi(1/2)."""
    found = robust.superiority(seeds(draw.normal(0.5, 1, n)), seeds(np.zeros(n)))
    return found is not None and found.low <= normal_below(0.5) <= found.high


def normal_below(z: float) -> float:
    """Return the standard normal distribution function."""
    return math.erfc(-z / math.sqrt(2)) / 2


def blocks(draw: Draw, n: int, centres: tuple[float, ...]) -> dict[str, BySeed]:
    """Return runs by block."""
    return {str(i): seeds(draw.normal(centre, SD, n)) for i, centre in enumerate(centres)}


def boot_holds(found: robust.Bootstrapped, truth: float) -> bool:
    """Whether a bootstrapped interval holds the truth."""
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


def iqm_holds(centres: tuple[float, ...]) -> Callable[[Draw, int], bool]:
    """Interquartile mean of blocks whose centres lie evenly around 0.9."""
    return lambda draw, n: boot_holds(robust.interquartile_mean(blocks(draw, n, centres), repeats=1000), 0.9)


def profile_holds(draw: Draw, n: int) -> bool:
    """The fraction of runs above half a deviation over the centre, six blocks."""
    found = robust.profile(blocks(draw, n, (0.9,) * 6), [0.9 + SD / 2], repeats=1000).fractions[0]
    return boot_holds(found, normal_below(-0.5))


DENSE = 0.95
LOSSES: Mapping[float, float] = {2.0: 0.001, 4.0: 0.003, 8.0: 0.008, 16.0: 0.02, 32.0: 0.06}
SYNOPS = {2.0: 0.7, 4.0: 0.4, 8.0: 0.22, 16.0: 0.13, 32.0: 0.08}


def curve(draw: Draw) -> curves.Curve:
    """Return a curve that loses one point between eight and sixteen times, 0.1 points of noise on every network."""
    noise = draw.normal(0, 0.001, 1 + len(LOSSES))
    points = [
        curves.Point(DENSE - loss + float(off), at, SYNOPS[at])
        for (at, loss), off in zip(LOSSES.items(), noise[1:], strict=True)
    ]
    return curves.Curve(curves.Point(DENSE + float(noise[0]), 1.0, 1.0), tuple(points))


def area_holds(draw: Draw, n: int) -> bool:
    """Student's t, of areas under curves."""
    losses = list(LOSSES.values())
    truth = DENSE - sum((a + b) / 2 for a, b in itertools.pairwise(losses)) / (len(losses) - 1)
    return bool(stats.interval(curves.areas({i: curve(draw) for i in range(n)}).values()).holds(truth))


def loss_holds(synops: bool) -> Callable[[Draw, int], bool]:
    """Compression or SynOps at one point of loss, on the log2 scale."""
    share = (curves.POINT - LOSSES[8.0]) / (LOSSES[16.0] - LOSSES[8.0])
    truth = SYNOPS[8.0] ** (1 - share) * SYNOPS[16.0] ** share if synops else 8.0 * 2.0**share

    def holds(draw: Draw, n: int) -> bool:
        drawn = {i: curve(draw) for i in range(n)}
        found = (curves.synops_at_loss if synops else curves.compression_at_loss)(drawn)
        return (
            found is not None and found.low is not None and found.high is not None and found.low <= truth <= found.high
        )

    return holds


def hits_hold(accuracy: float, images: int) -> Callable[[Draw, int], bool]:
    """The sampling error of an accuracy on so many images (one network: n plays no part)."""

    def holds(draw: Draw, n: int) -> bool:
        seen = draw.binomial(images, accuracy) / images
        return bool(abs(seen - accuracy) <= stats.sampling_error(seen, images))

    return holds


ROWS: Mapping[str, Row] = {
    "mean, Student t": Row(mean_holds, "95"),
    "paired difference, Student t": Row(difference_holds, "95"),
    "paired ratio, Student t": Row(ratio_holds, "95"),
    "one of five at Holm's level, some apart": Row(one_holds, "95 or more"),
    "all five at Holm's level, none apart": Row(all_hold(NULL, joint=False), "95 or more"),
    "all five at Holm's level, all far apart": Row(all_hold(APART, joint=False), "none"),
    "all five at the joint level, none apart": Row(all_hold(NULL, joint=True), "95 or more"),
    "all five at the joint level, all far apart": Row(all_hold(APART, joint=True), "95 or more"),
    "no false difference among five verdicts": Row(no_false_difference, "95 or more"),
    "no false equivalence among five at the margin": Row(no_false_equivalence, "95 or more"),
    "P(A > B), Clopper-Pearson": Row(superiority_holds, "95 or more"),
    "IQM of one block, bootstrap": Row(iqm_holds((0.9,)), "95", share=5),
    "IQM of six blocks, bootstrap": Row(iqm_holds((0.87, 0.88, 0.89, 0.91, 0.92, 0.93)), "95", share=5),
    "performance profile of six blocks, bootstrap": Row(profile_holds, "95", share=5),
    "area under the curve, Student t": Row(area_holds, "95"),
    "compression at one point of loss, Student t of log2": Row(loss_holds(synops=False), "95"),
    "SynOps at one point of loss, Student t of log2": Row(loss_holds(synops=True), "95"),
    "sampling error at 0.90 of 10,000 images, normal": Row(hits_hold(0.9, 10_000), "95"),
    "sampling error at 0.98 of 360 images, normal": Row(hits_hold(0.98, 360), "95"),
}


def measure(name: str, n: int, trials: int) -> float:
    """Return the share of trials in which a row held; its draws depend on its name and n alone."""
    row = ROWS[name]
    draw = np.random.Generator(np.random.PCG64([zlib.crc32(name.encode()), n]))
    rounds = max(1, trials // row.share)
    return sum(row.holds(draw, n) for _ in range(rounds)) / rounds


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000, help="of each cell; a bootstrap takes a fifth")
    parser.add_argument("--only", default="", help="measure the rows whose name holds this text")
    options = parser.parse_args()
    print("| what | meant | " + " | ".join(f"n = {n}" for n in SEEDS) + " |\n| --- |" + " --- |" * (1 + len(SEEDS)))
    for name, row in ((name, row) for name, row in ROWS.items() if options.only in name):
        shares = [f"{100 * measure(name, n, options.trials):.1f}" for n in SEEDS]
        print(f"| {name} | {row.nominal} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
