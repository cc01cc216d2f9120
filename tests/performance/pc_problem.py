"""What every side of `bench_predictive_coding.py` is given; needs NumPy alone, for the peers have Pythons of their own.

One step: feed-forward states, T synchronous sweeps over all states at rate `GAMMA` (mean squared output error, no
bidirectional energy), the weights' gradients averaged over the batch, one AdamW update.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

BATCH, GAMMA, RATE, CLASSES = 128, 0.1, 1e-3, 10
Array = Any

DEVICE = os.environ.get("PC_DEVICE", "cpu")
"""Where torch's sides compute."""


class Side(Protocol):
    """One implementation of the step, with weights and an optimiser of its own."""

    def gradients(self) -> list[Array]:
        """Return those of one step at the first weights: weight and bias of each stage, in torch's layout."""

    def run(self, steps: int) -> None:
        """Take steps, and return when they are done."""


@dataclass(frozen=True)
class Problem:
    """A network, its sweeps, and one batch of random data.

    Args:
        net: ``mlp`` (784-300-150-10) or ``vgg5`` (four 3x3 convolutions with 2x2 max pooling, a linear layer).
        sweeps: T.
    """

    net: str
    sweeps: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of x_0 ... x_L, of vgg5 the channels up to the last map."""
        return (784, 300, 150, CLASSES) if self.net == "mlp" else (3, 32, 64, 128, 128)

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shape of each stage's weight."""
        if self.net == "mlp":
            return [(o, i) for i, o in pairwise(self.widths)]
        return [*((o, i, 3, 3) for i, o in pairwise(self.widths)), (CLASSES, self.widths[-1] * 4)]

    @cached_property
    def weights(self) -> list[tuple[Array, Array]]:
        """Weight and bias of each stage, uniform within 1 / sqrt(fan-in)."""
        draws = np.random.default_rng(1)
        drawn = []
        for shape in self.shapes:
            edge = np.prod(shape[1:]) ** -0.5
            drawn.append(tuple(draws.uniform(-edge, edge, s).astype(np.float32) for s in (shape, shape[:1])))
        return drawn

    @cached_property
    def inputs(self) -> Array:
        """The batch, in [0, 1]: [N, 784] or [N, 3, 32, 32]."""
        shape = (784,) if self.net == "mlp" else (3, 32, 32)
        return np.random.default_rng(2).random((BATCH, *shape), dtype=np.float32)

    @cached_property
    def labels(self) -> Array:
        """The class of each sample."""
        return np.random.default_rng(3).integers(0, CLASSES, BATCH)

    @cached_property
    def target(self) -> Array:
        """The labels one-hot, [N, 10]."""
        return np.eye(CLASSES, dtype=np.float32)[self.labels]

    @property
    def products(self) -> list[int]:
        """Multiply-adds of each stage's forward pass, F_1 ... F_L, a sample."""
        if self.net == "mlp":
            return [o * i for o, i in self.shapes]
        places = [(32 >> k) ** 2 for k in range(len(self.shapes) - 1)]
        return [int(np.prod(s)) * n for s, n in zip(self.shapes, [*places, 1], strict=True)]

    @property
    def bound(self) -> int:
        """2 F + 2 T (F - F_1), a sample."""
        whole, first = sum(self.products), self.products[0]
        return 2 * whole + 2 * self.sweeps * (whole - first)
