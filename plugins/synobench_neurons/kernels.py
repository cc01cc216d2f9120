"""The neuron equation over all steps of one chunk of neurons, forward and backward, in place.

Membranes are kept negated, n = -h: the reset and its gradient are then one threshold operation each
(``x if x > -theta else 0``) and no mask is ever written.  Negation is exact, so are all comparisons.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from synobench.neurons import LIF
from synobench_neurons.layout import Layout
from synobench_neurons.surrogates import SURROGATES

_threshold = torch.ops.aten.threshold.out
_threshold_backward = torch.ops.aten.threshold_backward.grad_input


class Kernel:
    """The neuron equation for one layer; its methods work on chunks of the layer.

    Args:
        equation: the neuron equation.
        layout: the layer's memory order and pooling.
        steps: T.
        constant: whether every step has the same input current.
        like: a tensor of the dtype and device to compute in.
    """

    def __init__(self, equation: LIF, layout: Layout, steps: int, constant: bool, like: Tensor) -> None:
        self.equation, self.layout, self.steps, self.constant = equation, layout, steps, constant
        self.soft, self.surrogate = equation.reset == "soft", SURROGATES[equation.surrogate]
        # Numbers as tensors of the right dtype: a Python number would be converted anew at each operation.
        self.theta, self.fires = like.new_tensor(equation.threshold), like.new_tensor(-equation.threshold)
        self.beta, self.zero = like.new_tensor(equation.beta), like.new_zeros(())
        self.share = like.new_tensor(1.0 / layout.pool**2)
        # A product by a power of two is exact: fused with the sum after it or not, the result is the same.
        self.exact = math.frexp(equation.beta)[0] == 0.5

    def forward(self, currents: Tensor, spikes: Tensor) -> None:
        """Fill spikes [T, r, band / k^2] from currents [T, r, band], or [1, r, band] where they are constant."""
        n, v = torch.empty_like(currents[0]), torch.empty_like(currents[0])
        pooled = self.layout.pool > 1
        fired, half = (torch.empty_like(n), n.new_empty(n.numel() // self.layout.pool)) if pooled else (n, n)
        inputs = self._inputs(currents)
        for t, out in enumerate(spikes.unbind(0)):
            h = self._charge(inputs[t], v, n, t)
            s = fired if pooled else out
            torch.le(h, self.fires, out=s)
            if t + 1 < self.steps:
                self._reset(h, s, v)
            if pooled:
                self.layout.sum_windows(s, half, out)
                out.mul_(self.share)

    def backward(self, currents: Tensor, gradients: Tensor, out: Tensor) -> None:
        """Fill out (the gradient of currents) from the gradients [T, r, band / k^2] of spikes."""
        ns, u = self._membranes(currents), torch.empty_like(currents[0])
        half = u.new_empty(u.numel() // self.layout.pool)
        shape = (-1, self.layout.pool, self.layout.band // self.layout.pool)
        given, outs = (gradients * self.share).unbind(0), out.unbind(0)
        base, carry, u = self.zero, torch.empty_like(u).view(shape), u.view(shape)
        for t in range(self.steps - 1, -1, -1):
            n, gradient = ns[t].view(shape), self.layout.spread(given[t], half)
            target = carry if self.constant else outs[t].view(shape)
            if t + 1 < self.steps:
                gradient = self._through_reset(carry, gradient, n, target)
                base = target
            torch.add(n, self.theta, out=u)
            self.surrogate(base, gradient, u, self.equation.alpha, target)
            carry = target
            if self.constant:
                _accumulate(outs[0].view(shape), carry, first=t + 1 == self.steps)

    def _membranes(self, currents: Tensor) -> list[Tensor]:
        """Compute the negated membranes before the reset again, a buffer for each step."""
        v = torch.empty_like(currents[0])
        inputs = self._inputs(currents)
        ns: list[Tensor] = []
        for t in range(self.steps):
            if t:
                if self.soft:
                    torch.le(ns[-1], self.fires, out=v)
                self._reset(ns[-1], v, v)
            n = torch.empty_like(v)
            ns.append(self._charge(inputs[t], v, n, t))
        return ns

    def _inputs(self, currents: Tensor) -> tuple[Tensor, ...]:
        """Return each step's current; a constant one is negated once for all steps."""
        return (torch.neg(currents[0]),) * self.steps if self.constant else currents.unbind(0)

    def _charge(self, current: Tensor, v: Tensor, n: Tensor, t: int) -> Tensor:
        """Return -h[t]: beta v - x, in `n` or, if it is the given (negated) constant current itself, in that."""
        if self.constant and t == 0:
            return current
        if t == 0:
            return torch.neg(current, out=n)
        if not self.constant:
            return torch.sub(v.mul_(self.beta), current, out=n)
        if self.exact:
            return torch.add(current, v, alpha=self.equation.beta, out=n)
        return torch.add(current, v.mul_(self.beta), out=n)

    def _reset(self, n: Tensor, spikes: Tensor, v: Tensor) -> None:
        """Write the (negated) membrane after the reset to `v`, which may be the spikes' own memory."""
        if self.soft:
            torch.add(n, spikes, alpha=self.equation.threshold, out=v)
        else:
            _threshold(n, -self.equation.threshold, 0.0, out=v)

    def _through_reset(self, carry: Tensor, gradient: Tensor, n: Tensor, out: Tensor) -> Tensor:
        """Write what of dL/dh[t+1] (carry) the reset lets through to h[t]; return dL/ds[t] with the reset's share."""
        theta = self.equation.threshold
        torch.mul(carry, self.beta, out=out)
        if not self.equation.detach_reset:
            gradient = torch.sub(gradient, out, alpha=theta) if self.soft else torch.addcmul(gradient, out, n)
        if not self.soft:
            _threshold_backward(out, n, -theta, grad_input=out)
        return gradient


def _accumulate(total: Tensor, part: Tensor, first: bool) -> None:
    if first:
        total.copy_(part)
    else:
        total += part
