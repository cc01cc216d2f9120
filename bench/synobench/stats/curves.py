"""Figures of an accuracy curve over its operating points: the area under it, and what can be had for one point.

The axis is log2(compression), on which the customary points 2, 4, 8, 16, 32 stand evenly. Every figure is computed for
each seed, from the dense control of that seed; intervals are Student's t over seeds, of ratios on the log2 scale.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from synobench.errors import BenchError
from synobench.stats.intervals import LEVEL, finite, interval, mean

POINT = 0.01
"""One point of accuracy."""

SLACK = 1e-12  # accuracies are decimals: a loss of just one point is no more than one point


@dataclass(frozen=True)
class Point:
    """A network at one operating point.

    Args:
        accuracy: in 0 to 1.
        compression: parameters of the dense network over those kept, above 0.
        synops: synaptic operations a sample; None where nobody counted.
    """

    accuracy: float
    compression: float
    synops: float | None = None


@dataclass(frozen=True)
class Curve:
    """The networks of one seed: the dense control, None where there is none to pair with, and the pruned ones."""

    dense: Point | None
    points: tuple[Point, ...]

    @cached_property
    def steps(self) -> list[Point]:
        """The pruned points by compression, those of equal compression as their mean."""
        return _steps(self.points)


@dataclass(frozen=True)
class AtLoss:
    """What a method reaches within a loss, over seeds.

    Args:
        n: number of seeds.
        value: geometric mean over them.
        low, high: the Student-t interval on the log2 scale; None for one seed, or where a seed is bounded.
        bounded: seeds whose curve never crosses the loss; they enter with their last point, so `value` is a bound: the
            compression is at least that, the SynOps are at most that.
        left_out: seeds that lack an operating point, its SynOps, or the dense control.
    """

    n: int
    value: float
    low: float | None
    high: float | None
    bounded: tuple[int, ...]
    left_out: tuple[int, ...]


def area(points: Sequence[Point]) -> float | None:
    """Return the area under accuracy against log2(compression), over its width: the mean accuracy along the curve.

    Straight lines join the points; those of equal compression count with their mean. None below two compressions.

    Raises:
        BenchError: a value is NaN or infinite, or a compression is not above 0.
    """
    return _area(_steps(points))


def _area(steps: Sequence[Point]) -> float | None:
    if len(steps) < 2:
        return None
    at = [math.log2(step.compression) for step in steps]
    sums = (
        (b - a) * (p.accuracy + q.accuracy) / 2 for (a, p), (b, q) in itertools.pairwise(zip(at, steps, strict=True))
    )
    return math.fsum(sums) / (at[-1] - at[0])


def areas(curves: Mapping[int, Curve]) -> dict[int, float]:
    """Return seed -> area under its pruned points; a seed with fewer points than the fullest is left out."""
    found = {seed: _area(curves[seed].steps) for seed in _whole(curves)}
    return {seed: value for seed, value in found.items() if value is not None}


def compression_at_loss(curves: Mapping[int, Curve], loss: float = POINT, level: float = LEVEL) -> AtLoss | None:
    """Return the compression up to which accuracy stays within `loss` of the dense control's; None without a curve.

    Args:
        curves: seed -> its curve.
        loss: in accuracy, 0.01 for one point.
        level: of the interval.

    Raises:
        BenchError: a value is NaN or infinite, or a compression is not above 0.
    """
    return _at_loss(curves, loss, level, lambda point: point.compression)


def synops_at_loss(curves: Mapping[int, Curve], loss: float = POINT, level: float = LEVEL) -> AtLoss | None:
    """Return the SynOps over the dense control's at the same crossing; arguments as in `compression_at_loss`."""
    return _at_loss(curves, loss, level, lambda point: point.synops)


def _at_loss(
    curves: Mapping[int, Curve], loss: float, level: float, axis: Callable[[Point], float | None]
) -> AtLoss | None:
    found: dict[int, tuple[float, bool]] = {}
    for seed in _whole(curves):
        path = _path(curves[seed], axis)
        if path is not None:
            found[seed] = _crossing(path, loss)
    if not found:
        return None
    over = interval([position for position, _ in found.values()], level)
    bounded = tuple(seed for seed, (_, bound) in found.items() if bound)
    low, high = (None, None) if bounded else (over.low, over.high)
    return AtLoss(
        n=over.n,
        value=2**over.mean,
        low=None if low is None else 2**low,
        high=None if high is None else 2**high,
        bounded=bounded,
        left_out=tuple(sorted(curves.keys() - found.keys())),
    )


def _path(curve: Curve, axis: Callable[[Point], float | None]) -> list[tuple[float, float]] | None:
    """Return (accuracy, log2 of the axis over the dense control's) from the control on; None where one is unknown."""
    if curve.dense is None:
        return None
    dense, *steps = _steps([curve.dense]) + [p for p in curve.steps if p.compression > curve.dense.compression]
    start, along = axis(dense), [axis(step) for step in steps]
    if not start or not along:
        return None
    path = [(dense.accuracy, 0.0)]
    for step, position in zip(steps, along, strict=True):
        if position is None:
            return None
        path.append((step.accuracy, math.log2(position / start) if position else -math.inf))
    return path


def _crossing(path: Sequence[tuple[float, float]], loss: float) -> tuple[float, bool]:
    """Return where the path first falls below the loss, and whether that is only a bound.

    A network without any operation has no place on a log2 scale: the last one before it bounds the crossing.
    """
    least = path[0][0] - loss
    for (before, start), (after, end) in itertools.pairwise(path):
        if end == -math.inf:
            return start, True
        if after < least - SLACK:
            return start + max(0.0, before - least) / (before - after) * (end - start), False
    return path[-1][1], True


def _whole(curves: Mapping[int, Curve]) -> list[int]:
    points = {seed: len({point.compression for point in curve.points}) for seed, curve in curves.items()}
    return [seed for seed in sorted(points) if points[seed] == max(points.values())]


def _steps(points: Sequence[Point]) -> list[Point]:
    """Return the points by compression, those of equal compression as their mean."""
    held: dict[float, list[Point]] = {}
    for point in points:
        finite((point.accuracy, point.compression, point.synops or 0.0), "the points of a curve")
        if point.compression <= 0 or (point.synops or 0.0) < 0:
            raise BenchError(
                "a curve's compression is above 0, as 2 for half of the parameters, and its SynOps are not below 0"
            )
        held.setdefault(point.compression, []).append(point)
    return [_merged(held[compression]) for compression in sorted(held)]


def _merged(points: Sequence[Point]) -> Point:
    if len(points) == 1:
        return points[0]
    counted = [point.synops for point in points if point.synops is not None]
    synops = mean(counted) if len(counted) == len(points) else None
    return Point(mean([point.accuracy for point in points]), points[0].compression, synops)
