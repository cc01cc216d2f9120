"""The neuron equation over all steps of one chunk of neurons, forward and backward, in place.

Membranes are kept negated, n = -h: the reset and its gradient are then one threshold operation each
(``x if x > -theta else 0``) and no mask is ever written.  Negation is exact, so are all comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from synobench.neurons import LIF
from synobench_neurons.layout import split_phases
from synobench_neurons.surrogates import SURROGATES

_threshold = torch.ops.aten.threshold.out
_threshold_backward = torch.ops.aten.threshold_backward.grad_input


class Chunk:
    """Scratch memory and equation of one chunk: `phases` planes of `size` neurons.

    Args:
        equation: the neuron equation.
        steps: T.
        constant: whether every step has the same input current.
        like: a tensor of the dtype and device to compute in.
        shape: of one block of rows, phases first.
    """

    def __init__(self, equation: LIF, steps: int, constant: bool, like: Tensor, shape: Sequence[int]) -> None:
        self.equation, self.steps, self.constant = equation, steps, constant
        self.shape = torch.Size(shape)
        self.phases = shape[0] * shape[1] if len(shape) > 1 else 1
        self.plane = (self.phases, self.shape.numel() // self.phases)
        self.like = like
        # A product by a power of two is exact: fused or not, the sum after it is rounded the same.
        self.exact = math.frexp(equation.beta)[0] == 0.5

    def buffer(self) -> Tensor:
        """Return uninitialised memory for one membrane."""
        return self.like.new_empty(self.plane)

    def load(self, block: Tensor, out: Tensor) -> None:
        """Write the negated currents of a block of rows, phase by phase, into a buffer."""
        torch.neg(split_phases(block), out=out.view(self.shape))

    def store(self, buffer: Tensor, block: Tensor) -> None:
        """Write a buffer back into a block of rows."""
        split_phases(block).copy_(buffer.view(self.shape))

    def charge(self, current: Tensor, v: Tensor, out: Tensor) -> None:
        """Write current + beta v to `out`; v is overwritten unless beta is a power of two."""
        if self.exact:
            torch.add(current, v, alpha=self.equation.beta, out=out)
        else:
            torch.add(current, v.mul_(self.equation.beta), out=out)

    def reset(self, n: Tensor, spikes: Tensor | None, v: Tensor) -> None:
        """Write the (negated) membrane after the reset to `v`; `spikes` are needed by the soft reset alone."""
        theta = self.equation.threshold
        if spikes is None:
            _threshold(n, -theta, 0.0, out=v)
        else:
            torch.add(n, spikes, alpha=theta, out=v)

    def forward(self, currents: Tensor, spikes: Tensor) -> None:
        """Fill spikes [T, r], or pooled means [T, r, W/k * C], from currents [T, r, ...] ([1, r, ...] if constant)."""
        current, v, n = self.buffer(), self.buffer(), self.buffer()
        fired = self.buffer() if self.phases > 1 else None
        soft = self.equation.reset == "soft"
        for t, out in enumerate(spikes.unbind(0)):
            if t == 0 or not self.constant:
                self.load(currents[t], current)
            if t:
                self.charge(current, v, out=n)
            h, flat = n if t else current, out.view(1, -1)
            s = flat if fired is None else fired
            torch.le(h, -self.equation.threshold, out=s)
            if t + 1 < self.steps:
                self.reset(h, s if soft else None, v)
            if fired is not None:
                torch.sum(fired, 0, keepdim=True, out=flat)
                flat.div_(self.phases)

    def membranes(self, currents: Tensor) -> list[Tensor]:
        """Compute the negated membranes before the reset again, one buffer a step."""
        v, soft = self.buffer(), self.equation.reset == "soft"
        fired = self.buffer() if soft else None
        ns = [self.buffer() for _ in range(self.steps)]
        for t, n in enumerate(ns):
            current = ns[0] if self.constant else n
            if t == 0 or not self.constant:
                self.load(currents[t], current)
            if t:
                if fired is not None:
                    torch.le(ns[t - 1], -self.equation.threshold, out=fired)
                self.reset(ns[t - 1], fired, v)
                self.charge(current, v, out=n)
        return ns

    def backward(self, currents: Tensor, gradients: Tensor, out: Tensor) -> None:
        """Fill out (the gradient of currents) from the gradients of spikes [T, r, ...]."""
        ns, u, carry = self.membranes(currents), self.buffer(), self.buffer().zero_()
        total = self.buffer().zero_() if self.constant else None
        surrogate = SURROGATES[self.equation.surrogate]
        for t in range(self.steps - 1, -1, -1):
            gradient = gradients[t].reshape(1, -1)
            if self.phases > 1:
                gradient = gradient / self.phases
            if t + 1 < self.steps:
                gradient = self._through_reset(carry, gradient, ns[t])
            torch.add(ns[t], self.equation.threshold, out=u)
            surrogate(carry, gradient, u, self.equation.alpha)
            if total is None:
                self.store(carry, out[t])
            else:
                total += carry
        if total is not None:
            self.store(total, out[0])

    def _through_reset(self, carry: Tensor, gradient: Tensor, n: Tensor) -> Tensor:
        """Take carry from dL/dh[t+1] to what the reset lets through to h[t]; return dL/ds[t] with the reset's share."""
        theta, hard = self.equation.threshold, self.equation.reset == "hard"
        carry.mul_(self.equation.beta)
        if not self.equation.detach_reset:
            gradient = torch.addcmul(gradient, carry, n) if hard else gradient - theta * carry
        if hard:
            _threshold_backward(carry, n, -theta, grad_input=carry)
        return gradient
