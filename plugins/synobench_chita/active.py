r"""The active set (Benbaki et al. 2023, Algorithm 4).

The iteration looks at a set of columns alone, at first the 1.5 k largest weights of one step 1/L. Where a step over all
columns brings in others and lowers Q, they join the set.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from synobench_chita.iht import iht, lipschitz
from synobench_chita.quadratic import Quadratic
from synobench_chita.search import Point, at, line_search, slope
from synobench_chita.support import hard_threshold, largest


def active_set(problem: Quadratic, kept: int, steps: int, grow: float = 1.5, rounds: int = 10) -> Point:
    """Return where iterative hard thresholding ends, its steps taken on `grow` times k columns first."""
    point = at(problem, hard_threshold(problem.dense, kept))
    step = 1.0 / lipschitz(problem)
    wide = point.weights - step * slope(problem, point)
    active = largest(wide.abs(), min(problem.size, int(grow * kept))) | (point.weights != 0)
    for _ in range(rounds):
        point = _within(problem, point, active, kept, steps)
        moved = line_search(problem, point, kept)
        entered = (moved.weights != 0) & ~active
        if moved is point or not bool(entered.any()):
            return moved
        active |= entered
        point = moved
    return point


def _within(problem: Quadratic, point: Point, active: Tensor, kept: int, steps: int) -> Point:
    """Iterate on the columns of the active set [p], every other weight at zero."""
    places = active.nonzero().view(-1)
    rest = torch.where(active, 0.0, problem.dense)
    # With the others fixed at zero, A (w - w̄) = A_a (w_a - w̄_a) - A_r w̄_r: the second part joins the linear term.
    fixed = -problem.through(rest)
    part = replace(
        problem,
        matrix=problem.matrix[places],
        dense=problem.dense[places],
        linear=problem.linear[places] + problem.against(fixed)[places],
        alpha=0.0,
    )
    found = iht(part, kept, steps, point.weights[places])
    weights = torch.zeros_like(point.weights)
    weights[places] = found.weights
    settled = at(problem, weights)
    return settled if settled.value < point.value else point
