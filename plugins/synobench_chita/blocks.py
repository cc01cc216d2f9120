r"""The block approximation (Benbaki et al. 2023, Algorithm 6): one small problem for each run of a layer's weights.

Block b keeps the support's places in it and solves for its own :math:`b_b = A_b \bar w_b`, the Fisher matrix between
blocks taken as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from synobench_chita.backsolve import inner, product
from synobench_chita.quadratic import Quadratic
from synobench_chita.refine import refined


def partition(lengths: Sequence[int], size: int) -> list[slice]:
    """Cut tensors of these many weights, laid end to end, into runs of at most `size`, none across two tensors.

    Each tensor is cut into as few runs as can be, of lengths that differ by one at most.
    """
    out, start = [], 0
    for length in lengths:
        runs = -(-length // size)
        cuts = [start + length * i // runs for i in range(runs + 1)] if runs else [start]
        out += [slice(a, b) for a, b in pairwise(cuts)]
        start += length
    return out


def block_backsolve(problem: Quadratic, support: Tensor, blocks: Sequence[slice]) -> Tensor:
    """Return the weights [p] that each block's own problem has as its minimiser on the support, a mask [p]."""
    out = torch.zeros_like(problem.dense)
    removed = torch.where(support, 0.0, problem.dense).to(problem.matrix.dtype)
    # One room for all blocks' rows: it stays in the processor's cache.
    room = problem.matrix.new_empty(max((b.stop - b.start for b in blocks), default=0), problem.rows)
    plain = not bool(problem.linear.any()) and problem.matrix.device.type == "cpu"
    for block in blocks:
        places = support[block].nonzero().view(-1)
        if places.numel():
            matrix = problem.matrix[block]
            rows = torch.index_select(matrix, 0, places, out=room[: len(places)])
            image, places = product(removed[block], matrix), places + block.start
            quick = refined(rows, image, problem.ridge) if plain and len(rows) <= problem.rows else None
            change = _change(rows, image, problem.linear[places], problem.ridge) if quick is None else quick
            out[places] = problem.dense[places] + torch.as_tensor(change)
    return out


def _change(rows: Tensor, removed: Tensor, linear: Tensor, ridge: float) -> Tensor:
    r"""Return d [k] with :math:`(A_S^T A_S + n\lambda I) d = A_S^T A_Z \bar w_Z - h_S`, by the smaller system."""
    rows, removed = rows.double(), removed.double()
    if len(rows) <= rows.shape[1]:
        return _solved(inner(rows.T), ridge, rows @ removed - linear)
    shift = linear / ridge
    return rows @ _solved(inner(rows), ridge, removed + shift @ rows) - shift


def _solved(products: Tensor, ridge: float, right: Tensor) -> Tensor:
    products.diagonal().add_(ridge)
    return torch.cholesky_solve(right.unsqueeze(1), torch.linalg.cholesky(products)).squeeze(1)
