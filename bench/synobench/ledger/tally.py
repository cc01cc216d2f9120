"""Count non-zero values by position, exactly, in little more than one read of the tensor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tally:
    """Counts of one tensor [R, N, P] over N.

    Args:
        counts: non-zero values by row and position, int64 [R, P].
        magnitude: sum of |x|, float64 [R, P], added up in the precision of x; `counts` where every value is a unit.
        unit: whether every value is 0, 1 or -1.
        negative: whether a value is below zero.
    """

    counts: Tensor
    magnitude: Tensor
    unit: bool
    negative: bool


class Tallier:
    """Tallies tensors; its scratch memory is kept between calls, for a page fault costs more than the count."""

    def __init__(self) -> None:
        self._scratch: dict[tuple[torch.Size, torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def __call__(self, x: Tensor, unit: bool = True) -> Tally:
        """Count `x`, [R, N, P]. `unit` False says that its values are known not to be units."""
        if not x.is_floating_point():
            x = x.float()
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        tallies = [self._row(row, wide, unit) for row in x.detach()]
        counts = torch.stack([t.counts for t in tallies])
        units = all(t.unit for t in tallies)
        magnitude = counts if units else torch.stack([t.magnitude.double() for t in tallies])
        return Tally(counts, magnitude, units, any(t.negative for t in tallies))

    def _row(self, row: Tensor, wide: torch.dtype, unit: bool) -> Tally:
        sign, rest = self._buffers(row)
        torch.sign(row, out=sign)
        if unit:
            torch.sub(sign, row, out=rest)
            # terms of one sign cannot cancel: the sum is zero only where each x equals its sign
            unit = not bool(rest.abs_().sum(dtype=wide))
        counts = sign.sum(0, dtype=wide).to(torch.int64)
        negative = _negatives(row, sign, counts)
        if negative:
            counts = sign.abs_().sum(0, dtype=wide).to(torch.int64)
        if unit:
            return Tally(counts, counts, True, negative)
        sizes = torch.abs(row, out=rest) if negative else row
        return Tally(counts, sizes.sum(0, dtype=wide), False, negative)

    def _buffers(self, row: Tensor) -> tuple[Tensor, Tensor]:
        key = (row.shape, row.dtype, row.device)
        if key not in self._scratch:
            self._scratch[key] = (torch.empty_like(row), torch.empty_like(row))
        return self._scratch[key]


def _negatives(row: Tensor, sign: Tensor, counts: Tensor) -> bool:
    """Tell whether a value is below zero: whether the signs add up to less than their squares do."""
    if row.dtype in (torch.float32, torch.float64) and row.numel() < 2**24:  # whole numbers that a float32 holds
        flat = sign.reshape(-1)
        return int(torch.dot(flat, flat)) != int(counts.sum())
    return row.numel() > 0 and bool(row.min() < 0)
