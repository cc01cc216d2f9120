"""How spike tensors lie in memory, and how they are cut into chunks that stay in cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 131072
"""Neurons a thread works on at once: 4 MB of membranes, too few to leave a cache, too many for calls to cost."""


def is_channels_last(x: Tensor) -> bool:
    """Tell whether [T, N, C, H, W] lies in memory as [T, N, H, W, C]."""
    return x.ndim == 5 and not x.is_contiguous() and x.movedim(2, -1).is_contiguous()


@dataclass(frozen=True)
class Layout:
    """The memory order of spike tensors of one layer, and the pooling behind it.

    A *band* is a run of memory that pooling maps to a run of its own: `pool` rows of an image, or, without pooling, one
    number.  Bands are what a layer is cut at.

    Args:
        shape: of the tensor without T, [N, ...] or [N, C, H, W].
        last: whether channels lie innermost.
        pool: side k of the pooling window; 1 where nothing is pooled.
    """

    shape: torch.Size
    last: bool
    pool: int

    @property
    def run(self) -> int:
        """How many numbers lie side by side in one pixel of a row: the channels, or 1."""
        return self.shape[1] if self.last else 1

    @property
    def band(self) -> int:
        """Numbers in one band."""
        return 1 if self.pool == 1 else self.pool * self.shape[3] * self.run

    def flat(self, x: Tensor, pooled: bool = False) -> Tensor:
        """View (or copy, where it lies otherwise) x [T, N, ...] as [T, bands, numbers a band] in memory order."""
        x = x.movedim(2, -1).contiguous() if self.last else x.contiguous()
        return x.view(x.shape[0], -1, self.band // self.pool**2 if pooled else self.band)

    def empty(self, like: Tensor, steps: int, pool: int = 1) -> Tensor:
        """Return uninitialised memory [steps, N, ...] in this order, the image's sides divided by `pool`."""
        if len(self.shape) != 4:
            return like.new_empty((steps, *self.shape))
        n, c, h, w = self.shape
        if self.last:
            return like.new_empty((steps, n, h // pool, w // pool, c)).movedim(-1, 2)
        return like.new_empty((steps, n, c, h // pool, w // pool))

    def sum_windows(self, spikes: Tensor, scratch: Tensor, out: Tensor) -> None:
        """Write sums over pooling windows of bands [r, band] to out [r, band / k^2]; scratch holds [r, band / k]."""
        k, run = self.pool, self.run
        _sum_parts(spikes.view(-1, k, self.band // k), scratch.view(-1, self.band // k))
        _sum_parts(scratch.view(-1, k, run), out.view(-1, run))

    def spread(self, gradient: Tensor, scratch: Tensor) -> Tensor:
        """Hand gradients [r, band / k^2] to every pixel of their windows: what broadcasts to [r, k, band / k]."""
        k, run = self.pool, self.run
        if k == 1:
            return gradient.view(-1, 1, self.band)
        scratch.view(-1, k, run).copy_(gradient.reshape(-1, 1, run).expand(-1, k, run))
        return scratch.view(-1, 1, self.band // k)


def _sum_parts(x: Tensor, out: Tensor) -> None:
    """Sum x [m, k, n] over k, as additions of whole slices: reductions over a short middle dimension are slower."""
    first, second, *rest = x.unbind(1)
    torch.add(first, second, out=out)
    for part in rest:
        out += part


def chunks(flat: Tensor) -> Iterator[slice]:
    """Cut the bands of [T, bands, band] into equal pieces of about `CHUNK` neurons a thread.

    A device other than the CPU gets one piece: there it is launches that cost.
    """
    bands, neurons = flat.shape[1], flat[0].numel()
    size = CHUNK * torch.get_num_threads() if flat.device.type == "cpu" else max(neurons, 1)
    pieces = -(-neurons // size)
    step = -(-bands // max(pieces, 1))
    for start in range(0, bands, max(step, 1)):
        yield slice(start, min(start + step, bands))
