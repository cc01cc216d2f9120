r"""The block approximation (Benbaki et al. 2023, Algorithm 6): one small problem for each run of a layer's weights.

Block b keeps the support's places in it and solves for its own :math:`b_b = A_b \bar w_b`, the Fisher matrix between
blocks taken as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from synobench_chita.backsolve import inner, product
from synobench_chita.quadratic import Quadratic
from synobench_chita.refine import Lines, refined


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


def block_backsolve(problem: Quadratic, support: Tensor, blocks: Sequence[slice], drop: float = 0.0) -> Tensor:
    """Return the weights [p] that each block's own problem has as its minimiser on the support, a mask [p].

    Without a first-order term each block leaves out the rows that it can do without (see `rows_needed`): its Q stays
    within (1 + `drop`) times the least.
    """
    out = torch.zeros_like(problem.dense)
    removed = torch.where(support, 0.0, problem.dense).to(problem.matrix.dtype)
    # One room for all blocks' rows: it stays in the processor's cache.
    room = problem.matrix.new_empty(max((b.stop - b.start for b in blocks), default=0), problem.rows)
    plain = not bool(problem.linear.any()) and problem.matrix.device.type == "cpu"
    for block in blocks:
        places = support[block].nonzero().view(-1)
        if places.numel():
            matrix = problem.matrix[block]
            # The product reads the block from memory; the gather finds it in the cache.
            image = product(removed[block], matrix)
            rows = torch.index_select(matrix, 0, places, out=room[: len(places)])
            places = places + block.start
            change = _plain(rows, image, removed[block], problem.ridge, drop) if plain else None
            if change is None:
                change = _change(rows, image, problem.linear[places], problem.ridge)
            out[places] = problem.dense[places] + change
    return out


def rows_needed(lines: Lines, image: Lines, removed: Lines, limit: float) -> int:
    r"""Return how many of the first rows a block needs, for gathered rows [k, m] and the image u = A_Z w_Z [m].

    With D the rows behind them, :math:`\|D_S d_S - u_D\|^2 \le (\|D_S\|_F^2 + \|u_D\|^2 / \|w_Z\|^2)
    (\|d_S\|^2 + \|w_Z\|^2)` by Cauchy and Schwarz: rows go while the first factor is at most `limit`.
    """
    squares = np.einsum("ij,ij->j", lines, lines).astype(np.float64)
    size = float(removed @ removed)
    if size:
        squares += image.astype(np.float64) ** 2 / size
    tails = np.cumsum(squares[::-1])
    return len(image) - int(np.searchsorted(tails, limit, side="right"))


def _plain(rows: Tensor, image: Tensor, removed: Tensor, ridge: float, drop: float) -> Tensor | None:
    """Solve one block without a first-order term, in its own type where that is precise enough."""
    lines, wanted = rows.numpy(), image.numpy()
    left = rows_needed(lines, wanted, removed.numpy(), drop * ridge)
    change = refined(lines[:, :left], wanted[:left], ridge)
    if change is not None:
        return torch.from_numpy(change)
    return _change(rows[:, :left], image[:left], rows.new_zeros(len(rows)).double(), ridge)


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
