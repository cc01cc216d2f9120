r"""The damped empirical Fisher matrix over some weights, its inverse by products alone, and what OBS makes of it.

With the gradients of m samples of p weights as rows of A, drawn from n,

.. math:: F = \lambda I + \tfrac1n A^T A, \qquad F^{-1} = \tfrac1\lambda \bigl(I - A^T (n\lambda I + A A^T)^{-1} A\bigr)

(Woodbury). Nothing of size p x p is held where p exceeds m. All sums are in float64: with the dampings in use (1e-5)
the matrix to be factorised has a condition number of several millions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from synobench.errors import BenchError
from synobench.gradients import SampleGradients, Span

CHUNK = 8192
"""Weights whose gradients are held in float64 at once."""

WHOLE, BY_TENSOR = -1, 0
"""Sizes of a block: all weights together, and each tensor by itself."""

LARGEST = 12_288
"""The most weights for which a p x p inverse is held: 1.2 GB in float64."""


class Inverse(Protocol):
    """The inverse of a damped Fisher matrix."""

    @property
    def diagonal(self) -> Tensor:
        """Its diagonal [p], float64."""

    def times(self, vector: Tensor) -> Tensor:
        """Return its product with a vector [p], float64."""


class Dual:
    """By a factor of the m x m matrix n lambda I + A A', for more weights than samples.

    Args:
        matrix: A', [p, m].
        drawn: n.
        damp: lambda, above 0.
    """

    def __init__(self, matrix: Tensor, drawn: int, damp: float) -> None:
        self.matrix, self.damp = matrix, damp
        inner = gram(matrix)
        inner.diagonal().add_(drawn * damp)
        self.factor = torch.linalg.cholesky(inner)

    @cached_property
    def diagonal(self) -> Tensor:
        """(1 - a_j' (n lambda I + A A')^-1 a_j) / lambda, a_j the gradients of weight j."""
        shares = [_solved(self.factor, part.T).square().sum(0) for part in chunks(self.matrix)]
        return (1 - torch.cat(shares)) / self.damp

    def times(self, vector: Tensor) -> Tensor:
        """Return F^-1 v."""
        inner = through(self.matrix, vector).unsqueeze(1)
        inner = torch.cholesky_solve(inner, self.factor).squeeze(1)
        return (vector.double() - torch.cat([part @ inner for part in chunks(self.matrix)])) / self.damp


class Primal:
    """By the p x p inverse itself, for fewer weights than samples."""

    def __init__(self, matrix: Tensor, drawn: int, damp: float) -> None:
        whole = matrix.double()
        fisher = whole @ whole.T / drawn
        fisher.diagonal().add_(damp)
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(fisher))

    @property
    def diagonal(self) -> Tensor:
        """The diagonal of the inverse."""
        return self.inverse.diagonal()

    def times(self, vector: Tensor) -> Tensor:
        """Return F^-1 v."""
        return self.inverse @ vector.double()


class Recursion(Primal):
    """By one update of rank 1 a sample, as WoodFisher publishes it (Singh and Alistarh 2020, equation 4).

    Raises:
        BenchError: the p x p inverse would be too large.
    """

    def __init__(self, matrix: Tensor, drawn: int, damp: float) -> None:
        size = matrix.shape[0]
        if size > LARGEST:
            needed = f"{8 * size * size / 1e9:.1f} GB"
            raise BenchError(f"a recursion over {size:,} weights needs {needed}; blocks of {LARGEST:,} are the most")
        self.inverse = torch.eye(size, dtype=torch.float64, device=matrix.device) / damp
        for column in matrix.T.double():
            image = self.inverse @ column
            self.inverse.addr_(image, image, alpha=-1 / (drawn + float(column @ image)))


def inverse(matrix: Tensor, drawn: int, damp: float, how: str = "auto") -> Inverse:
    """Return the inverse of a block's damped Fisher matrix.

    Args:
        matrix: A', [p, m].
        drawn: n, of which m rows are at hand and the others are taken as zero.
        damp: lambda.
        how: ``auto`` chooses the cheaper of the direct forms, ``recursion`` takes the published one; they agree.

    Raises:
        BenchError: the damping is not above 0, or the block is too large for a recursion.
    """
    if not damp > 0:
        raise BenchError(f"the damping of a Fisher matrix must be above 0, not {damp}")
    if how == "recursion":
        return Recursion(matrix, drawn, damp)
    return (Primal if matrix.shape[0] < matrix.shape[1] else Dual)(matrix, drawn, damp)


def joint_step(matrix: Tensor, weights: Tensor, keep: Tensor, drawn: int, damp: float) -> Tensor:
    """Return the step [p] that removes weights at once and lets those kept make up for it (OBS for a set of weights).

    It minimises d' F d / 2 with d = -w on the removed ones: on those kept d = A_S' (n lambda I + A_S A_S')^-1 A_Z w_Z,
    or the same through the smaller of the two systems.

    Args:
        matrix: A', [p, m].
        weights: [p].
        keep: [p], bool.
        drawn: n.
        damp: lambda.
    """
    step = torch.where(keep, 0.0, -weights.double())
    kept = matrix[keep]
    if not bool(keep.any()) or bool(keep.all()):
        return step
    missing = -through(matrix, step)
    if kept.shape[0] < kept.shape[1]:
        whole = kept.double()
        system = whole @ whole.T
        system.diagonal().add_(drawn * damp)
        step[keep] = torch.cholesky_solve((whole @ missing).unsqueeze(1), torch.linalg.cholesky(system)).squeeze(1)
        return step
    system = gram(kept)
    system.diagonal().add_(drawn * damp)
    inner = torch.cholesky_solve(missing.unsqueeze(1), torch.linalg.cholesky(system)).squeeze(1)
    step[keep] = torch.cat([part @ inner for part in chunks(kept)])
    return step


def fisher_loss(gradients: SampleGradients, weights: Tensor) -> float:
    """Return ||A (w - w̄)||² / (2 n) in float64: how far the Fisher model says that weights [p] raise the loss."""
    image = through(gradients.matrix, weights.double() - gradients.weights.double())
    return float(image @ image) / (2 * gradients.drawn)


def blocks(spans: Sequence[Span], size: int) -> list[slice]:
    """Cut p weights into blocks: consecutive runs of at most `size` within each tensor, or as the constants say."""
    if size == WHOLE:
        return [slice(spans[0].start, spans[-1].stop)]
    steps = [(span, size if size > BY_TENSOR else span.stop - span.start) for span in spans]
    return [slice(at, min(at + step, s.stop)) for s, step in steps for at in range(s.start, s.stop, step)]


def gram(matrix: Tensor) -> Tensor:
    """Return A A' [m, m] of A' [p, m], summed in float64."""
    total = torch.zeros(matrix.shape[1], matrix.shape[1], dtype=torch.float64, device=matrix.device)
    for part in chunks(matrix):
        total.addmm_(part.T, part)
    return total


def through(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return A v [m] in float64."""
    total = torch.zeros(matrix.shape[1], dtype=torch.float64, device=matrix.device)
    for at, part in zip(range(0, matrix.shape[0], CHUNK), chunks(matrix), strict=True):
        total += vector[at : at + CHUNK].double() @ part
    return total


def chunks(matrix: Tensor) -> Iterator[Tensor]:
    """Go through the rows of A' in float64, some thousands at a time."""
    return (matrix[at : at + CHUNK].double() for at in range(0, matrix.shape[0], CHUNK))


def _solved(factor: Tensor, right: Tensor) -> Tensor:
    found: Tensor = torch.linalg.solve_triangular(factor, right, upper=False)
    return found
