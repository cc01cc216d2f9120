r"""What one weight more or less is worth, all others solved anew: exact, from the dual of a support.

With z the dual's pull and :math:`q_j = a_j^T K^{-1} a_j`, to remove j from the support costs
:math:`\tfrac{n\lambda}{2} z_j^2 / (1 - q_j)`, and to add it gains :math:`\tfrac{n\lambda}{2} z_j^2 / (1 + q_j)`. The
first is the saliency of optimal brain surgery, since :math:`[H_S^{-1}]_{jj} = (1 - q_j) / n\lambda`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synobench_chita.backsolve import Dual
from synobench_chita.quadratic import CHUNK

LEAST = 1e-12
"""What 1 - q is taken for at least: rounding may bring it to zero and below."""


def whitened(dual: Dual, places: Tensor) -> Tensor:
    """Return :math:`L^{-1} a_j`, with :math:`K = L L^T`, for each place [k, m], in the matrix's type."""
    eye = torch.eye(dual.problem.rows, dtype=torch.float64, device=places.device)
    half = torch.linalg.solve_triangular(dual.factor, eye, upper=False).T.to(dual.problem.matrix.dtype)
    return torch.cat([dual.problem.matrix[part] @ half for part in torch.split(places, CHUNK)])


def leverage(dual: Dual, places: Tensor) -> Tensor:
    """Return q_j for each place, float64."""
    parts = torch.split(places, 64 * CHUNK)
    return torch.cat([whitened(dual, part).square().sum(1).double() for part in parts])


def costs(dual: Dual, places: Tensor, pull: Tensor) -> Tensor:
    r"""Return what it costs to remove each place of the support, over :math:`n\lambda/2`; `pull` is z [p]."""
    return pull[places].square() / (1.0 - leverage(dual, places)).clamp_min(LEAST)


def gains(dual: Dual, places: Tensor, pull: Tensor) -> Tensor:
    r"""Return what it gains to add each place, over :math:`n\lambda/2`; `pull` is z [p]."""
    return pull[places].square() / (1.0 + leverage(dual, places))


def best_pair(dual: Dual, leaving: Tensor, entering: Tensor) -> tuple[Tensor, Tensor, float]:
    r"""Return the pair, a place of each list, whose exchange lowers Q most, and by how much over :math:`n\lambda/2`.

    Once i has left, :math:`z_j` has become :math:`z_j + q_{ij} z_i / (1 - q_i)` and :math:`q_j` has become
    :math:`q_j + q_{ij}^2 / (1 - q_i)`, with :math:`q_{ij} = a_i^T K^{-1} a_j`: exact for each pair.
    """
    pull, out, into = dual.pull(), whitened(dual, leaving).double(), whitened(dual, entering).double()
    rest = (1.0 - out.square().sum(1)).clamp_min(LEAST).unsqueeze(1)
    shared = out @ into.T
    left = pull[leaving].unsqueeze(1)
    risen = (pull[entering] + shared * left / rest).square() / (1.0 + into.square().sum(1) + shared.square() / rest)
    lowered = risen - left.square() / rest
    best = int(lowered.argmax())
    i, j = divmod(best, entering.numel())
    return leaving[i : i + 1], entering[j : j + 1], float(lowered[i, j])
