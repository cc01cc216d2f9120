"""snnTorch's Leaky neuron under the bench's neuron equation.

Three of its habits are met: it fires above the threshold, not at it (the surrogate given to it fires at zero too);
its reset by subtraction is not decayed with the membrane, and its resets are detached (where that differs, the reset
is applied between its steps); and it keeps every neuron ever built in a list of its class (ours is taken out again).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from synobench.errors import BenchError
from synobench.neurons import LIF

try:
    import snntorch
    from snntorch import surrogate
except ImportError as missing:
    raise BenchError("the neuron backend 'snntorch' needs: pip install 'synobench[snntorch]'") from missing

_HALVES = (torch.bfloat16, torch.float16)
Slope = Callable[[Tensor, Tensor, Tensor], Tensor]


class _AtThreshold(surrogate.CustomSurrogate):  # type: ignore[misc]
    """snnTorch's custom surrogate, firing at u >= 0 and keeping the dtype."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, slope: Slope) -> Tensor:
        spikes = (u >= 0).to(u)
        ctx.save_for_backward(u, spikes)
        ctx.custom_surrogate_function = slope
        return spikes


def _atan(alpha: float, u: Tensor, gradient: Tensor, _spikes: Tensor) -> Tensor:
    return gradient * (0.5 * alpha) / (1 + (0.5 * math.pi * alpha * u).square())


def _sigmoid(alpha: float, u: Tensor, gradient: Tensor, _spikes: Tensor) -> Tensor:
    s = torch.sigmoid(alpha * u)
    return gradient * alpha * s * (1 - s)


def _triangle(alpha: float, u: Tensor, gradient: Tensor, _spikes: Tensor) -> Tensor:
    return gradient * alpha * (1 - (alpha * u).abs()).clamp(min=0)


_SLOPES = {"atan": _atan, "sigmoid": _sigmoid, "triangle": _triangle}


class SnnTorchLIF(nn.Module):
    """A loop of Leaky neurons over the steps; half-precision currents are integrated in float32.

    Args:
        equation: the neuron's parameters.
    """

    spiking = True

    def __init__(self, equation: LIF) -> None:
        super().__init__()
        self.equation = equation
        self.own_reset = equation.reset == "hard" and equation.detach_reset
        slope = functools.partial(_SLOPES[equation.surrogate], equation.alpha)
        self.node = snntorch.Leaky(
            beta=torch.tensor(equation.beta, dtype=torch.float64),
            threshold=torch.tensor(equation.threshold, dtype=torch.float64),
            spike_grad=lambda u: _AtThreshold.apply(u, slope),
            reset_mechanism="zero" if self.own_reset else "none",
            reset_delay=True,
        )
        snntorch.SpikingNeuron.instances.remove(self.node)
        for name, constant in list(self.node.named_buffers()):
            self.node.register_buffer(name, constant, persistent=False)

    def forward(self, currents: Tensor) -> Tensor:
        """Map currents [T, N, ...] to spikes [T, N, ...], from a membrane at zero."""
        wide = currents.float() if currents.dtype in _HALVES else currents
        membrane, spikes = torch.zeros_like(wide[0]), []
        for current in wide:
            fired, membrane = self.node(current, membrane)
            spikes.append(fired)
            if not self.own_reset:
                membrane = self._after_reset(membrane, fired)
        self.reset()
        return torch.stack(spikes).to(currents.dtype)

    def reset(self) -> None:
        """Forget the membrane (and the graph it hangs on)."""
        self.node.mem = self.node.mem.new_zeros(0)

    def _after_reset(self, membrane: Tensor, fired: Tensor) -> Tensor:
        fired = fired.detach() if self.equation.detach_reset else fired
        return membrane * (1 - fired) if self.equation.reset == "hard" else membrane - self.equation.threshold * fired
