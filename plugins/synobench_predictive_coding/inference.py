"""Inference: what each solver is given, and what it leaves for the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from synobench.stages import Chain, Trace
from synobench_predictive_coding import PredictiveCoding
from synobench_predictive_coding.feedback import Feedback
from synobench_predictive_coding.output import Output, told

Moved = Callable[[list[Tensor], list[Trace]], None]
"""What is done with errors and traces after each sweep, where weights move along."""


@dataclass(frozen=True)
class Task:
    """One batch: the network, its feed-forward pass, its target, and how to infer.

    `feedback` holds the backward half of the energy, where there is one.
    """

    chain: Chain
    traces: list[Trace]
    output: Output
    how: PredictiveCoding
    feedback: Feedback | None = None

    @property
    def top(self) -> Tensor:
        """x_L: the target, as the topmost backward map is given it."""
        return self.output.target

    def guess(self) -> Tensor:
        """Return the feed-forward output in the units of the target."""
        read = told(self.traces[-1].y)
        return read if self.how.loss == "mse" else torch.softmax(read, 1)


@dataclass
class Inferred:
    """Errors e_1 ... e_L and the traces of each stage that its weights' gradients are taken at.

    Args:
        states: x_1 ... x_{L-1}. `top`: x_L.
        energies: after 0, 1, ... sweeps that were kept, summed over the batch; where nobody looked, none.
        halvings: how often the guard halved gamma.
    """

    errors: list[Tensor]
    traces: list[Trace]
    states: list[Tensor]
    top: Tensor
    energies: list[float] = field(default_factory=list)
    halvings: int = 0


@dataclass
class Guard:
    """Looks at the energy after each sweep: takes back what rose, and says when to stop."""

    how: PredictiveCoding
    look: bool = False
    gamma: float = field(init=False)
    energies: list[float] = field(default_factory=list)
    halvings: int = 0

    def __post_init__(self) -> None:
        self.gamma = self.how.gamma

    @property
    def watches(self) -> bool:
        """Whether energies are needed at all."""
        return self.how.guard or self.how.tolerance > 0 or self.look

    def keeps(self, energy: Callable[[], float]) -> bool:
        """Take note of the energy after a sweep; False where the sweep is to be taken back."""
        if not self.watches:
            return True
        now = energy()
        last = self.energies[-1] if self.energies else math.inf
        if self.how.guard and self.energies and not now <= last + 1e-6 * abs(last):
            self.gamma /= 2
            self.halvings += 1
            return False
        self.energies.append(now)
        return True

    @property
    def settled(self) -> bool:
        """Whether the last sweep lowered the energy by less than the tolerance."""
        if not self.how.tolerance or len(self.energies) < 2:
            return False
        last, now = self.energies[-2:]
        return last - now < self.how.tolerance * abs(last)


def half_square(errors: Sequence[Tensor]) -> float:
    """Return half the sum of squares of errors."""
    squares = [_square(e) for e in errors]
    if squares and squares[0].is_cuda:
        # Reading a figure waits for the device: once, not once a stage.
        return 0.5 * float(torch.stack(squares).double().sum())
    return 0.5 * sum(map(float, squares))


def _square(e: Tensor) -> Tensor:
    if e.is_contiguous():
        flat = e.view(-1)
        return torch.dot(flat, flat)
    norm: Tensor = torch.linalg.vector_norm(e)
    return norm.square()
