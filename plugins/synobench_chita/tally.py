"""Q of several candidates in float64 over all rows that were computed, added up over groups of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from synobench.gradients import SampleGradients
from synobench_chita.quadratic import CHUNK


class Tally:
    """Adds up what groups of tensors do to each row.

    Args:
        drawn: n, the rows drawn.
        candidates: how many changes d = w - w̄ there are.
    """

    def __init__(self, drawn: int, candidates: int) -> None:
        self._images = torch.zeros(drawn, candidates, dtype=torch.float64)
        self._squares, self._linear = torch.zeros(2, candidates, dtype=torch.float64)

    def add(self, gradients: SampleGradients, changes: Tensor, linear: Tensor) -> None:
        """Add a group: its gradients, the candidates' changes [q, candidates] and the first-order term h [q], float64.

        A row that has no column in one group counts as zero there.
        """
        image = torch.zeros(gradients.matrix.shape[1], changes.shape[1], dtype=torch.float64, device=changes.device)
        for at in range(0, len(changes), CHUNK):
            part = slice(at, at + CHUNK)
            image += gradients.matrix[part].double().T @ changes[part]
        self._images.index_add_(0, gradients.index.cpu(), image.cpu())
        self._squares += changes.square().sum(0).cpu()
        self._linear += (linear @ changes).cpu()

    def values(self, ridges: Sequence[float]) -> list[float]:
        r"""Return Q of each candidate at its own :math:`\lambda`; 0 for no change."""
        ridge = torch.tensor(ridges, dtype=torch.float64) * len(self._images)
        found = 0.5 * self._images.square().sum(0) + 0.5 * ridge * self._squares + self._linear
        values: list[float] = found.tolist()
        return values
