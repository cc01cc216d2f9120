r"""The local model of the loss that CHITA minimises (Benbaki et al. 2023, equations 3 to 6).

With the per-sample gradients :math:`A \in R^{n \times p}` at weights :math:`\bar w`, for at most k non-zero weights,

.. math:: Q(w) = \tfrac12 \|A(w - \bar w)\|^2 + \tfrac{n\lambda}{2} \|w - \bar w\|^2 + h^T (w - \bar w),

with :math:`h = \alpha A^T 1` the first-order term. The p x p Hessian is never formed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

CHUNK = 8192
"""Weights looked at together: what is copied stays within some ten megabytes."""


@dataclass(frozen=True)
class Quadratic:
    r"""Q over p weights, from m rows of gradients stored weight by weight.

    Args:
        matrix: :math:`A^T`, [p, m], float32 (float64 in checks); a row's gradient lies in a column.
        dense: :math:`\bar w`, [p], float64.
        ridge: :math:`n\lambda`, above 0, n counting the rows drawn, those dropped too.
        linear: h, [p], float64; all zero where the first-order term is off.
        alpha: :math:`\alpha`: how much of `linear` comes from the rows at hand, as :math:`\alpha A^T 1`.
    """

    matrix: Tensor
    dense: Tensor
    ridge: float
    linear: Tensor
    alpha: float = 0.0

    @property
    def size(self) -> int:
        """How many weights there are."""
        return int(self.matrix.shape[0])

    @property
    def rows(self) -> int:
        """How many rows of gradients there are."""
        return int(self.matrix.shape[1])

    @cached_property
    def centre(self) -> Tensor:
        r"""Where the ridge pulls, c [p]: :math:`\bar w` less what dropped rows leave of h, over :math:`n\lambda`.

        With it Q is, up to a constant, the regression :math:`\tfrac12\|b - Aw\|^2 + \tfrac{n\lambda}2\|w - c\|^2`.
        """
        if not self.alpha and not bool(self.linear.any()):
            return self.dense
        held = self.alpha * self.matrix.sum(1, dtype=torch.float64)
        return self.dense - (self.linear - held) / self.ridge

    @cached_property
    def response(self) -> Tensor:
        r""":math:`b = A\bar w - \alpha 1`, [m] (equation 5)."""
        return self.through(self.dense) - self.alpha

    def chunks(self) -> Iterator[slice]:
        """Go through the weights, some thousands at a time."""
        return (slice(at, min(at + CHUNK, self.size)) for at in range(0, self.size, CHUNK))

    def through(self, vector: Tensor) -> Tensor:
        """Return A v [m] in float64, summed in float64 over chunks."""
        out = torch.zeros(self.rows, dtype=torch.float64, device=self.matrix.device)
        for part in self.chunks():
            out += (vector[part].to(self.matrix.dtype) @ self.matrix[part]).double()
        return out

    def against(self, vector: Tensor) -> Tensor:
        """Return A' v [p] in float64."""
        return (self.matrix @ vector.to(self.matrix.dtype)).double()

    def exactly(self, vector: Tensor) -> Tensor:
        """Return A v [m] with every product in float64; slower than `through`, for what is reported."""
        out = torch.zeros(self.rows, dtype=torch.float64, device=self.matrix.device)
        for part in self.chunks():
            out += vector[part].double() @ self.matrix[part].double()
        return out

    def gradient(self, weights: Tensor) -> Tensor:
        r"""Return :math:`\nabla Q` [p] at weights [p]."""
        change = weights - self.dense
        return self.against(self.through(change)) + self.ridge * change + self.linear

    def value(self, weights: Tensor) -> float:
        r"""Return Q in float64; 0 at :math:`\bar w`."""
        change = weights.double() - self.dense
        return self.combine(self.exactly(change), change)

    def combine(self, image: Tensor, change: Tensor) -> float:
        """Return Q from the change d = w - w̄ [p] and its image A d [m]."""
        curved = 0.5 * float(image @ image) + 0.5 * self.ridge * float(change @ change)
        return curved + float(self.linear @ change)
