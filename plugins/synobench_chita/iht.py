r"""Iterative hard thresholding with the line search (Benbaki et al. 2023, Algorithm 2)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from synobench_chita.quadratic import Quadratic
from synobench_chita.search import Point, at, line_search
from synobench_chita.support import hard_threshold

TOLERANCE = 1e-7
"""Iterations stop where Q falls by less than this share of itself."""


def descend(problem: Quadratic, start: Tensor, kept: int, steps: int) -> Iterator[Point]:
    """Go from weights [p] with `kept` non-zero ones, step by step; the first point given is the start itself."""
    point = at(problem, hard_threshold(start, kept))
    yield point
    for _ in range(steps):
        moved = line_search(problem, point, kept)
        settled = point.value - moved.value <= TOLERANCE * max(abs(point.value), 1e-300)
        if moved is not point:
            yield moved
        if settled:
            return
        point = moved


def iht(problem: Quadratic, kept: int, steps: int, start: Tensor | None = None) -> Point:
    """Return the last point of the descent from the largest weights, or from `start` [p]."""
    last = None
    for point in descend(problem, problem.dense if start is None else start, kept, steps):
        last = point
    assert last is not None
    return last


def lipschitz(problem: Quadratic, rounds: int = 8) -> float:
    r"""Return :math:`L \ge \sigma_{max}(A)^2 + n\lambda`, the largest curvature of Q, 5 % above power iteration's.

    The iteration starts from the row of largest norm, so that it needs no random draw.
    """
    squares = sum(problem.matrix[part].square().sum(0, dtype=torch.float64) for part in problem.chunks())
    vector = problem.matrix[:, int(torch.as_tensor(squares).argmax())].double()
    square = 0.0
    for _ in range(rounds):
        norm = float(vector.norm())
        if not norm:
            return problem.ridge
        image = problem.through(vector / norm)
        square = float(image @ image)
        vector = problem.against(image)
    return 1.05 * square + problem.ridge
