r"""Backsolve: the best values on a given support (Benbaki et al. 2023, Algorithm 5), in its dual form.

On a support S, with Z its complement, c the ridge's centre and :math:`K = A_S A_S^T + n\lambda I`,

.. math:: K \nu = A\bar w - \alpha 1 - A_S c_S, \qquad w_S = c_S + A_S^T \nu.

Only an m x m system is solved, and nothing large is subtracted from anything large. The published form applies the
Woodbury identity to :math:`(A_S^T A_S + n\lambda I)^{-1}`; see docs/chita.md for what became of it in float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from synobench_chita.quadratic import CHUNK, Quadratic


@dataclass(frozen=True)
class Dual:
    r"""A support and its m x m face.

    Args:
        problem: Q.
        support: S, a mask [p].
        kernel: K [m, m], float64.
        factor: its lower Cholesky factor.
        multipliers: :math:`\nu` [m], which is the residual over :math:`n\lambda`.
        bound: the right-hand side [m].
    """

    problem: Quadratic
    support: Tensor
    kernel: Tensor
    factor: Tensor
    multipliers: Tensor
    bound: Tensor

    def value(self) -> float:
        r"""Return the least Q on the support, :math:`\tfrac{n\lambda}2 (\nu^T K \nu + \|c_Z\|^2)`, up to a constant."""
        left = self.problem.centre[~self.support]
        return 0.5 * self.problem.ridge * (float(self.bound @ self.multipliers) + float(left @ left))

    def without_first_order(self) -> Dual:
        """Return the dual of the same support and the same Gram matrix, its problem's first-order term left out."""
        still = replace(self.problem, linear=torch.zeros_like(self.problem.linear), alpha=0.0)
        return _settled(still, self.support, self.kernel, self.factor)

    def pull(self) -> Tensor:
        r"""Return :math:`z = c + A^T\nu` [p]: on S the weights, elsewhere :math:`-\nabla_j Q / n\lambda`."""
        return self.problem.centre + self.problem.against(self.multipliers)

    def weights(self) -> Tensor:
        """Return the minimiser on the support [p], zero elsewhere."""
        out = torch.zeros_like(self.problem.dense)
        places = self.support.nonzero().view(-1)
        slim = self.multipliers.to(self.problem.matrix.dtype)
        for part in torch.split(places, CHUNK):
            out[part] = self.problem.centre[part] + (self.problem.matrix[part] @ slim).double()
        return out


def gram(problem: Quadratic, places: Tensor) -> Tensor:
    """Return A_S A_S' [m, m], float64, over the weights at `places`: products in the matrix's type, sums in float64."""
    out = torch.zeros(problem.rows, problem.rows, dtype=torch.float64, device=problem.matrix.device)
    for part in torch.split(places, CHUNK):
        out += inner(problem.matrix[part])
    return out


def inner(rows: Tensor) -> Tensor:
    """Return rows' rows [m, m] for rows [k, m]."""
    if rows.device.type != "cpu":
        return rows.T @ rows
    # NumPy sees that both factors are one matrix and computes half of the product.
    found = rows.numpy()
    return torch.from_numpy(found.T @ found)


def product(vector: Tensor, rows: Tensor) -> Tensor:
    """Return vector' rows [m] for a vector [k] and rows [k, m]."""
    if rows.device.type != "cpu":
        return vector @ rows
    # Lines that lie apart are read faster by NumPy's product.
    return torch.from_numpy(vector.numpy() @ rows.numpy())


def backsolve(problem: Quadratic, support: Tensor) -> Dual:
    """Solve for the best weights on a support, a mask [p]."""
    return settle(problem, support, gram(problem, support.nonzero().view(-1)))


def settle(problem: Quadratic, support: Tensor, products: Tensor) -> Dual:
    """Solve on a support whose A_S A_S' [m, m] is known."""
    kernel = products + problem.ridge * torch.eye(problem.rows, dtype=torch.float64, device=products.device)
    return _settled(problem, support, kernel, torch.linalg.cholesky(kernel))


def _settled(problem: Quadratic, support: Tensor, kernel: Tensor, factor: Tensor) -> Dual:
    bound = problem.through(problem.dense - torch.where(support, problem.centre, 0.0)) - problem.alpha
    multipliers = torch.cholesky_solve(bound.unsqueeze(1), factor).squeeze(1)
    return Dual(problem, support, kernel, factor, multipliers, bound)
