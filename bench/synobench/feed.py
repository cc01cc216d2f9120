"""A split of a data set as tensors: pixels stay bytes on the device and become inputs a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Batch = tuple[Tensor, Tensor]
"""Inputs [N, C, H, W] (float32) and labels [N] (int64)."""


class Feed:
    """Images [N, C, H, W] and labels [N] on a device; inputs are (pixel / 255 - mean) / std by channel."""

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        mean: Sequence[float],
        std: Sequence[float],
        device: str = "cpu",
    ) -> None:
        self._images = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        self._labels = torch.from_numpy(np.ascontiguousarray(labels)).to(device)
        spread = torch.tensor(std, dtype=torch.float32, device=device).view(1, -1, 1, 1)
        self._scale = 1.0 / (255.0 * spread)
        self._shift = torch.tensor(mean, dtype=torch.float32, device=device).view(1, -1, 1, 1) / spread
        self.device = device

    def __len__(self) -> int:
        return int(self._labels.numel())

    def take(self, index: Tensor | slice) -> Batch:
        """Return the images and labels at `index`."""
        inputs = self._images[index].to(torch.float32).mul_(self._scale).sub_(self._shift)
        return inputs, self._labels[index]

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[Batch]:
        """Go through the split once, in file order or in `order`; a last batch of one image joins the one before."""
        order = torch.arange(len(self), device=self.device) if order is None else order.to(self.device)
        chunks = list(torch.split(order, size))
        if size > 1 and len(chunks) > 1 and chunks[-1].numel() == 1:
            # Batch normalisation has no variance over a single image.
            chunks[-2:] = [torch.cat(chunks[-2:])]
        return (self.take(chunk) for chunk in chunks)

    def count(self, size: int) -> int:
        """Return how many batches `batches` gives."""
        full, rest = divmod(len(self), size)
        return max(1, full + (rest > 1))
