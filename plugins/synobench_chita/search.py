r"""The step of iterative hard thresholding, and how long it is (Benbaki et al. 2023, Algorithm 2).

:math:`w^+ = P_k(w - \tau \nabla Q(w))` changes its support at breakpoints of :math:`\tau` only, so that Q along the
step is a quadratic from one breakpoint to the next. On the first piece its minimiser is known in closed form; beyond it
a geometric row of steps is tried in one product, and the best one taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synobench_chita.quadratic import Quadratic
from synobench_chita.support import hard_threshold, largest

TRIALS = 8
"""Steps tried beyond the first breakpoint, each twice the one before."""


@dataclass(frozen=True)
class Point:
    """Weights [p], the image A (w - w̄) [m], and Q there."""

    weights: Tensor
    image: Tensor
    value: float


def at(problem: Quadratic, weights: Tensor) -> Point:
    """Return the point of weights [p]."""
    change = weights - problem.dense
    image = problem.through(change)
    return Point(weights, image, problem.combine(image, change))


def slope(problem: Quadratic, point: Point) -> Tensor:
    r"""Return :math:`\nabla Q` [p] at a point."""
    change = point.weights - problem.dense
    return problem.against(point.image) + problem.ridge * change + problem.linear


def first_breakpoint(weights: Tensor, gradient: Tensor, support: Tensor) -> float:
    r"""Return the largest step below which the support stays.

    A weight i of the support shrinks to :math:`|w_i - \tau g_i|` while the steepest one outside grows to
    :math:`\tau G`; they meet where :math:`\tau = |w_i| / (G + s_i |g_i|)`, with :math:`s_i = \pm 1` as
    :math:`w_i` and :math:`g_i` have the same sign or not.
    """
    outside = gradient[~support]
    steepest = float(outside.abs().max()) if outside.numel() else 0.0
    inside, steep = weights[support], gradient[support]
    together = torch.sign(inside) == torch.sign(steep)
    closing = steepest + torch.where(together, steep.abs(), -steep.abs())
    meets = (closing > 0) & (steepest > 0)
    return float((inside[meets].abs() / closing[meets]).min()) if bool(meets.any()) else math.inf


def exact_step(problem: Quadratic, gradient: Tensor, support: Tensor) -> float:
    r"""Return the minimiser of the first piece, :math:`\|g_S\|^2 / (\|A_S g_S\|^2 + n\lambda\|g_S\|^2)`."""
    inside = torch.where(support, gradient, 0.0)
    square = float(inside @ inside)
    image = problem.through(inside)
    return square / (float(image @ image) + problem.ridge * square) if square else 0.0


def line_search(problem: Quadratic, point: Point, kept: int) -> Point:
    """Take one step of Algorithm 2: the exact one where the support stays, else the best of a geometric row.

    The point itself comes back where nothing tried is lower.
    """
    gradient = slope(problem, point)
    support = _support(point.weights, kept)
    step = exact_step(problem, gradient, support)
    turn = first_breakpoint(point.weights, gradient, support)
    if step < turn:
        moved = point.weights - step * torch.where(support, gradient, 0.0)
        return _lower(point, at(problem, moved))
    start = turn / (1 + 1e-4) if turn > 0 else step / 2**TRIALS
    tried = [hard_threshold(point.weights - start * 2**t * gradient, kept) for t in range(TRIALS)]
    return _best(problem, point, torch.stack(tried, 1))


def _support(weights: Tensor, kept: int) -> Tensor:
    # A zero that is kept keeps its place by index, as in the projection, so that the support always has `kept` places.
    return largest(weights.abs(), kept)


def _best(problem: Quadratic, point: Point, tried: Tensor) -> Point:
    """Return the lowest of several weights [p, t], or the point itself."""
    changes = tried - problem.dense.unsqueeze(1)
    images = torch.zeros(problem.rows, tried.shape[1], dtype=torch.float64, device=tried.device)
    for part in problem.chunks():
        images += (problem.matrix[part].T @ changes[part].to(problem.matrix.dtype)).double()
    values = [problem.combine(images[:, t], changes[:, t]) for t in range(tried.shape[1])]
    lowest = min(range(len(values)), key=values.__getitem__)
    return _lower(point, Point(tried[:, lowest], images[:, lowest], values[lowest]))


def _lower(old: Point, new: Point) -> Point:
    return new if new.value < old.value else old
