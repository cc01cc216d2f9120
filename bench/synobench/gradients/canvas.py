"""Memory for a matrix that is written row by row and read weight by weight, without a second one of its size.

Writing a row across p weights touches p pages; so rows are first kept in strips of a few hundred weights, each strip
row-major, and each strip is turned where it lies once all rows are there. What is left is weight-major throughout.
"""

from __future__ import annotations

import torch
from torch import Tensor

STRIP = 1 << 19
"""Numbers of a strip: 2 MB, which stay in a core's cache while they are turned."""


class Canvas:
    """Rows [r, q] in, a matrix [p, m] out.

    Args:
        weights: p.
        rows: the most rows that will come.
        device: where it lies.
    """

    def __init__(self, weights: int, rows: int, device: torch.device | str = "cpu") -> None:
        self.weights, self.rows = weights, rows
        self.width = max(64, STRIP // rows)
        self._flat = torch.empty(weights * rows, device=device)

    def write(self, row: int, start: int, values: Tensor) -> None:
        """Write values [r, q]: rows from `row` on, weights from `start` on."""
        first = -(-start // self.width) * self.width
        last = min(start + values.shape[1], self.weights) // self.width * self.width
        if first >= last:
            self._write_pieces(row, start, values)
            return
        self._write_pieces(row, start, values[:, : first - start])
        strips = self._flat[first * self.rows : last * self.rows].view(-1, self.rows, self.width)
        given = values[:, first - start : last - start].reshape(len(values), -1, self.width)
        strips[:, row : row + len(values)] = given.transpose(0, 1)
        self._write_pieces(row, last, values[:, last - start :])

    def _write_pieces(self, row: int, start: int, values: Tensor) -> None:
        """Write values that fill no strip, and that lie in two at most."""
        cut = min(self.width - start % self.width, values.shape[1])
        for at, part in ((start, values[:, :cut]), (start + cut, values[:, cut:])):
            if part.shape[1]:
                offset = at % self.width
                self._strip(at)[row : row + len(part), offset : offset + part.shape[1]] = part

    def finish(self, order: Tensor) -> tuple[Tensor, Tensor]:
        """Turn the strips, keeping the rows in `order`; return the matrix [p, m] and its sums over rows [p].

        The canvas is used up: the matrix lies where it lay.
        """
        left, sums = order.numel(), self._flat.new_empty(self.weights)
        for at in range(0, self.weights, self.width):
            kept = self._strip(at).index_select(0, order)
            end = at + kept.shape[1]
            sums[at:end] = kept.sum(0)
            # A turned strip ends where it began or earlier (m <= rows): nothing that is still to be read is lost.
            self._flat[at * left : end * left].view(-1, left).copy_(kept.T)
        return self._flat[: self.weights * left].view(self.weights, left), sums

    def _strip(self, weight: int) -> Tensor:
        """Return the strip of a weight as [rows, width], the last one narrower."""
        start = weight // self.width * self.width
        stop = min(start + self.width, self.weights)
        return self._flat[start * self.rows : stop * self.rows].view(self.rows, -1)
