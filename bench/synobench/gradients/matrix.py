"""The matrix of per-sample gradients, weight-major, and the rows that a ridge allows to drop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from synobench.errors import BenchError

BLOCK = 1 << 22
"""Numbers of the matrix that are worked on at once: 16 MB."""


@dataclass(frozen=True)
class Span:
    """Where a prunable tensor lies among the p weights: ``start`` to ``stop`` (exclusive), and its shape."""

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SampleGradients:
    """The gradients of the cross-entropy with respect to the prunable weights, sample by sample.

    A row of the empirical Fisher's factor A (n x p) is a column here, so that the gradients of a set of weights are a
    gather of contiguous memory. Columns are sorted by their norm, the largest first.

    Args:
        matrix: [p, m] float32; m <= `drawn` where rows were screened away or dropped. Not to be written to.
        total: [p] float32, the sum of the gradients of all `samples` images, of those without a column too; NaN where
            screening left it out.
        samples: images drawn.
        weights: [p] float32, the prunable weights at which the gradients were taken, in the model's order.
        spans: where each prunable tensor lies.
        squares: [m] float64, the squared norm of each column.
        index: [m] int64, which of the drawn rows each column is.
        size: images a row: a row is the gradient of their mean loss.
        told: how it was made: figures for the record's measurements.
    """

    matrix: Tensor
    total: Tensor
    samples: int
    weights: Tensor
    spans: tuple[Span, ...]
    squares: Tensor
    index: Tensor
    size: int = 1
    told: Mapping[str, float] = field(default_factory=dict)

    @property
    def drawn(self) -> int:
        """Rows drawn (n), with those that have no column."""
        return self.samples // self.size

    def unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        """Cut a vector [p] into the prunable tensors, by name; views, where `flat` allows it."""
        return {span.name: flat[span.start : span.stop].view(span.shape) for span in self.spans}

    def blocks(self, size: int = BLOCK) -> Iterator[slice]:
        """Go through the p weights in runs whose gradients hold about `size` numbers."""
        step = max(1, size // max(1, self.matrix.shape[1]))
        for start in range(0, self.matrix.shape[0], step):
            yield slice(start, min(start + step, self.matrix.shape[0]))


def drop_rows(gradients: SampleGradients, ridge: float, epsilon: float = 0.01) -> SampleGradients:
    """Leave the smallest rows out while the ridge outweighs them: a view, nothing is copied.

    With D the dropped rows and 2 λ₂ = n λ, rows go while the sum of their squared norms is at most ε 2 λ₂. Then
    ½ ||D d||² <= ε λ₂ ||d||² for every step d: the quadratic over all rows lies between the one over the rows left and
    (1 + ε) times it. `total` stays the sum over all images.

    Args:
        gradients: of n = `drawn` rows.
        ridge: λ of ½ ||A d||² + (n λ / 2) ||d||² (Benbaki et al. 2023, equation of the local quadratic).
        epsilon: what the certificate may cost, relative.

    Raises:
        BenchError: the ridge or epsilon is negative or not finite.
    """
    if not (math.isfinite(ridge) and math.isfinite(epsilon) and ridge >= 0 and epsilon >= 0):
        raise BenchError(f"rows are dropped for a ridge and an epsilon of 0 or more, not {ridge} and {epsilon}")
    tails = gradients.squares.flip(0).cumsum(0)
    left = len(tails) - int((tails <= epsilon * gradients.drawn * ridge).sum())
    return dataclasses.replace(
        gradients,
        matrix=gradients.matrix[:, :left],
        squares=gradients.squares[:left],
        index=gradients.index[:left],
        told={**gradients.told, "gradient_rows": float(left)},
    )
