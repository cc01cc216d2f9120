"""How spike tensors lie in memory, and how they are cut into chunks and pooling phases.

A pooling window of k x k meets k * k *phases*: the pixels at offset (i, j) of every window.  Kept phase by phase, the
spikes of a window lie in k * k planes of equal shape, so that pooling and its gradient are whole-plane operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 32768
"""Neurons a thread works on at once: few enough that their membranes of all steps stay in a cache of 1 MB."""


def is_channels_last(x: Tensor) -> bool:
    """Tell whether [T, N, C, H, W] lies in memory as [T, N, H, W, C]."""
    return x.ndim == 5 and not x.is_contiguous() and x.movedim(2, -1).is_contiguous()


@dataclass(frozen=True)
class Layout:
    """The memory order of a spike tensor of shape [T, N, ...].

    Args:
        shape: its shape without T.
        last: whether channels lie innermost.
        pool: side k of the pooling window; 1 where nothing is pooled.
    """

    shape: torch.Size
    last: bool
    pool: int

    @property
    def phases(self) -> int:
        """Pixels in a pooling window."""
        return self.pool * self.pool

    def rows(self, x: Tensor) -> Tensor:
        """View (or copy) a full tensor [T, N, ...] as [T, R, k, W/k, k, C], or as [T, R] without pooling."""
        x = x.movedim(2, -1).contiguous() if self.last else x.contiguous()
        if self.pool == 1:
            return x.reshape(x.shape[0], -1)
        width, channels = (x.shape[3], x.shape[4]) if self.last else (x.shape[4], 1)
        return x.view(x.shape[0], -1, self.pool, width // self.pool, self.pool, channels)

    def pooled_rows(self, x: Tensor) -> Tensor:
        """View (or copy) a pooled tensor [T, N, C, H/k, W/k] as [T, R, W/k * C]; without pooling as [T, R]."""
        if self.pool == 1:
            return self.rows(x)
        x = x.movedim(2, -1).contiguous() if self.last else x.contiguous()
        inner = x.shape[3] * x.shape[4] if self.last else x.shape[4]
        return x.view(x.shape[0], -1, inner)

    def empty(self, like: Tensor, steps: int, pool: int = 1) -> Tensor:
        """Return uninitialised memory [steps, N, ...] in this order, the image sides divided by `pool`."""
        if len(self.shape) != 4:
            return like.new_empty((steps, *self.shape))
        n, c, h, w = self.shape
        if self.last:
            return like.new_empty((steps, n, h // pool, w // pool, c)).movedim(-1, 2)
        return like.new_empty((steps, n, c, h // pool, w // pool))


def chunks(x: Tensor) -> Iterator[slice]:
    """Cut the second dimension of rows [T, R, ...] into equal pieces of about `CHUNK` neurons a thread.

    A device other than the CPU gets one piece: there it is launches that cost.
    """
    rows = x.shape[1]
    size = CHUNK * torch.get_num_threads() if x.device.type == "cpu" else max(x[0].numel(), 1)
    pieces = -(-x[0].numel() // size) if rows else 0
    step = -(-rows // pieces) if pieces else 1
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def split_phases(block: Tensor) -> Tensor:
    """View a block of rows [r, k, W/k, k, C] phase by phase, [k, k, r, W/k, C]; [r] without pooling stays itself."""
    return block if block.ndim == 1 else block.permute(1, 3, 0, 2, 4)
