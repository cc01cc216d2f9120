"""Products within a compiled step."""

from __future__ import annotations

import torch
from torch import Tensor

SMALL = 2**20
"""Products of fewer multiply-adds gain nothing by parts."""


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return a b [N, m], the rows of a [N, k] in as many parts as torch has threads.

    MKL divides one small product badly: [128, 150] with [150, 150] takes one thread 39 microseconds, two threads 54,
    and two threads 35 by its halves.
    """
    rows, parts = len(a), _threads()
    if a.is_cuda or parts == 1 or rows % parts or a.numel() * b.shape[1] < SMALL:
        return a @ b
    found = torch.bmm(a.reshape(parts, rows // parts, -1), b.expand(parts, *b.shape))
    return found.view(rows, -1)


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x W' + b [N, out]; as a difference, for torch makes one operation of a product and a sum, and copies b."""
    y = product(x, weight.t())
    return y if bias is None else y - bias.neg()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _threads() -> int:
    return torch.get_num_threads()
