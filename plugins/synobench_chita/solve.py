"""From a quadratic and a number of weights to the weights that stay: the paper's algorithms by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from synobench_chita.active import active_set
from synobench_chita.backsolve import Dual, backsolve
from synobench_chita.blocks import block_backsolve, partition
from synobench_chita.descent import coordinate_descent
from synobench_chita.iht import iht
from synobench_chita.quadratic import Quadratic
from synobench_chita.search import Point, at, line_search
from synobench_chita.support import hard_threshold, largest
from synobench_chita.swaps import swap_search


@dataclass(frozen=True)
class Settings:
    """How a problem is solved: the parameters of the pruners that say so, and the sizes of the prunable tensors.

    `given` is a support [p] that has been chosen already: for problems that are a part of a larger one.
    """

    variant: str
    support: str = "magnitude"
    iterations: int = 50
    sweeps: int = 5
    swaps: int = 50
    block: int = 500
    drop: float = 0.0
    lengths: Sequence[int] = ()
    given: Tensor | None = None


@dataclass(frozen=True)
class Solution:
    """Weights [p], float64, and the mask [p] of those that stay; the support's dual, where one was solved for."""

    weights: Tensor
    support: Tensor
    dual: Dual | None = None


def solve(problem: Quadratic, kept: int, settings: Settings) -> Solution:
    """Keep `kept` of the weights by the algorithm that the settings name."""
    if kept <= 0:
        return Solution(torch.zeros_like(problem.dense), torch.zeros_like(problem.dense, dtype=torch.bool))
    return SOLVERS[settings.variant](problem, min(kept, problem.size), settings)


def without_first_order(problem: Quadratic, found: Solution, settings: Settings) -> Tensor:
    """Return the weights [p] on a solution's support with the first-order term left out."""
    if found.dual is not None:
        return found.dual.without_first_order().weights()
    still = replace(problem, linear=torch.zeros_like(problem.linear), alpha=0.0)
    if settings.variant == "bso-block":
        return block_backsolve(still, found.support, _runs(problem, settings), settings.drop)
    return backsolve(still, found.support).weights()


def chosen(problem: Quadratic, kept: int, settings: Settings) -> Tensor:
    """Return the support that a backsolve starts from.

    ``magnitude``: the largest weights. ``step``: the largest after one move of Algorithm 2 from w̄. ``newton``: the
    largest of the minimiser over all weights. Without the first-order term the gradient at w̄ is zero, no move is made,
    and the three agree.
    """
    if settings.given is not None:
        return settings.given
    if settings.support == "magnitude":
        return largest(problem.dense.abs(), kept)
    if settings.support == "newton":
        everything = torch.ones_like(problem.dense, dtype=torch.bool)
        return largest(backsolve(problem, everything).weights().abs(), kept)
    return largest(line_search(problem, at(problem, problem.dense), kept).weights.abs(), kept)


def _iht(problem: Quadratic, kept: int, settings: Settings) -> Solution:
    return _told(iht(problem, kept, settings.iterations), kept)


def _active(problem: Quadratic, kept: int, settings: Settings) -> Solution:
    return _told(active_set(problem, kept, settings.iterations), kept)


def _cd(problem: Quadratic, kept: int, settings: Settings) -> Solution:
    found = _active(problem, kept, settings)
    polished = coordinate_descent(problem, at(problem, found.weights), found.support, settings.sweeps)
    return Solution(polished.weights, found.support)


def _bso(problem: Quadratic, kept: int, settings: Settings) -> Solution:
    dual = backsolve(problem, chosen(problem, kept, settings))
    return Solution(dual.weights(), dual.support, dual)


def _swaps(problem: Quadratic, kept: int, settings: Settings) -> Solution:
    dual = swap_search(problem, chosen(problem, kept, settings), settings.swaps)
    return Solution(dual.weights(), dual.support, dual)


def _blocks(problem: Quadratic, kept: int, settings: Settings) -> Solution:
    support = chosen(problem, kept, settings)
    return Solution(block_backsolve(problem, support, _runs(problem, settings), settings.drop), support)


def _runs(problem: Quadratic, settings: Settings) -> list[slice]:
    return partition(settings.lengths or [problem.size], settings.block)


def _told(point: Point, kept: int) -> Solution:
    return Solution(hard_threshold(point.weights, kept), largest(point.weights.abs(), kept))


SOLVERS: dict[str, Callable[[Quadratic, int, Settings], Solution]] = {
    "iht": _iht,
    "active-set": _active,
    "cd": _cd,
    "bso": _bso,
    "bso-swaps": _swaps,
    "bso-block": _blocks,
}
"""The algorithms by name."""
