r"""Swap search: exchange weights of the support for better ones outside (Benbaki et al. 2023, section 3.3).

Each weight of the support has its cost, each one outside its gain (``scores``). The cheapest are exchanged for the most
gainful, many at once, as long as Q falls.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synobench_chita.backsolve import Dual, backsolve, gram, settle
from synobench_chita.quadratic import Quadratic
from synobench_chita.scores import best_pair, costs, gains
from synobench_chita.support import largest

CANDIDATES = 4096
"""Weights scored on either side of the support, those whose z says that they may cross."""

HEADS = 256
"""Weights on either side whose pairs are tried where no exchange of many lowers Q."""


def swap_search(problem: Quadratic, support: Tensor, rounds: int) -> Dual:
    """Return the backsolve on the support reached from a mask [p] after at most so many lowering exchanges."""
    dual = backsolve(problem, support)
    for _ in range(rounds):
        lower = _many(dual) or _one(dual)
        if lower is None:
            return dual
        dual = lower
    return dual


def _many(dual: Dual) -> Dual | None:
    """Exchange the pairs whose gain exceeds their cost, half as many as long as Q does not fall."""
    leaving, spent, entering, missed = _ranked(dual, CANDIDATES)
    count = int((spent < missed).sum())
    while count:
        lower = _exchanged(dual, leaving[:count], entering[:count])
        if lower is not None:
            return lower
        count //= 2
    return None


def _one(dual: Dual) -> Dual | None:
    """Exchange the best of the pairs that the lists' heads make, each pair's effect known exactly."""
    leaving, _, entering, _ = _ranked(dual, HEADS)
    if not leaving.numel():
        return None
    out, into, lowered = best_pair(dual, leaving, entering)
    return _exchanged(dual, out, into) if lowered > 0 else None


def _exchanged(dual: Dual, out: Tensor, into: Tensor) -> Dual | None:
    """Return the dual with some places out of the support and others in it, if Q is lower there."""
    support = dual.support.clone()
    support[out], support[into] = False, True
    diagonal = dual.problem.ridge * torch.eye(dual.problem.rows, dtype=torch.float64, device=out.device)
    products = dual.kernel - diagonal - gram(dual.problem, out) + gram(dual.problem, into)
    tried = settle(dual.problem, support, products)
    return tried if tried.value() < dual.value() else None


def _ranked(dual: Dual, most: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return places that may leave, cheapest first, with their costs, and as many that may enter, with their gains."""
    pull = dual.pull()
    leaving = _candidates(-pull.square(), dual.support, most)
    entering = _candidates(pull.square(), ~dual.support, most)
    leaving, spent = _ordered(leaving, costs(dual, leaving, pull))
    entering, missed = _ordered(entering, -gains(dual, entering, pull))
    pairs = min(leaving.numel(), entering.numel())
    return leaving[:pairs], spent[:pairs], entering[:pairs], -missed[:pairs]


def _candidates(scores: Tensor, among: Tensor, most: int) -> Tensor:
    """Return the places of the highest scores [p] among a mask [p]."""
    places = among.nonzero().view(-1)
    return places[largest(scores[places], min(most, places.numel()))]


def _ordered(places: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    order = torch.argsort(scores, stable=True)
    return places[order], scores[order]
