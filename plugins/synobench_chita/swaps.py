r"""Swap search: exchange weights of the support for better ones outside (Benbaki et al. 2023, section 3.3).

A round takes a pool: the weights of the support that z says to be the cheapest, and those outside that it says to be
the most gainful. Within the pool exchanges are exact (``pool``); the best one is made as long as one lowers Q. Then the
support is solved anew, and a pool is taken from what has become of z.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from synobench_chita.backsolve import Dual, backsolve, gram, settle
from synobench_chita.pool import Pool
from synobench_chita.quadratic import Quadratic
from synobench_chita.support import largest

WIDE = 256
"""Weights of a pool on either side of the support."""

HEADS = 64
"""Weights on either side of which all pairs are looked at for one exchange."""

LEAST = 3e-5
"""Rounds end where Q falls by less than this share of itself."""


def swap_search(problem: Quadratic, support: Tensor, rounds: int) -> Dual:
    """Return the backsolve on the support reached from a mask [p] after at most so many lowering rounds."""
    dual = backsolve(problem, support)
    for _ in range(rounds):
        lower = exchanged(dual)
        if lower is None:
            return dual
        fallen, dual = dual.value() - lower.value(), lower
        if fallen <= LEAST * dual.value():
            return dual
    return dual


def exchanged(dual: Dual) -> Dual | None:
    """Return the dual after the exchanges of one pool, if Q is lower there."""
    pull = dual.pull()
    out = _candidates(-pull.abs(), dual.support)
    places = torch.cat([out, _candidates(pull.abs(), ~dual.support)])
    pool = Pool(products_of(dual, places), pull[places].cpu().numpy(), np.arange(len(places)) < len(out), WIDE)
    before = pool.inside.copy()
    least = LEAST / WIDE * 2.0 * dual.value() / dual.problem.ridge
    for _ in range(WIDE):
        leaving, entering, lowered = pool.best(HEADS)
        if lowered <= least:
            break
        pool.exchange(leaving, entering)
    turned = [torch.from_numpy(np.flatnonzero(side)) for side in (before & ~pool.inside, ~before & pool.inside)]
    return _settled(dual, *(places[side.to(places.device)] for side in turned)) if len(turned[0]) else None


def _candidates(scores: Tensor, among: Tensor) -> Tensor:
    """Return the places of the highest scores [p] among a mask [p]."""
    places = among.nonzero().view(-1)
    return places[largest(scores[places], min(WIDE, places.numel()))]


def products_of(dual: Dual, places: Tensor) -> np.ndarray:
    """Return :math:`a_i^T K^{-1} a_j` over places [c, c], in float64."""
    white = torch.linalg.solve_triangular(dual.factor, dual.problem.matrix[places].double().T, upper=False)
    found: np.ndarray = (white.T @ white).cpu().numpy()
    return found


def _settled(dual: Dual, out: Tensor, into: Tensor) -> Dual | None:
    """Return the dual with some places out of the support and others in it, if Q is lower there."""
    support = dual.support.clone()
    support[out], support[into] = False, True
    products = dual.kernel - gram(dual.problem, out) + gram(dual.problem, into)
    products.diagonal().sub_(dual.problem.ridge)
    tried = settle(dual.problem, support, products)
    return tried if tried.value() < dual.value() else None
