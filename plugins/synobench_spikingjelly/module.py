"""SpikingJelly's LIFNode under the bench's neuron equation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synobench.errors import BenchError
from synobench.neurons import LIF

try:
    from spikingjelly.activation_based import neuron, surrogate
except ImportError as missing:
    raise BenchError("the neuron backend 'spikingjelly' needs: pip install 'synobench[spikingjelly]'") from missing

_HALVES = (torch.bfloat16, torch.float16)
_SURROGATES = {"atan": surrogate.ATan, "sigmoid": surrogate.Sigmoid, "triangle": surrogate.PiecewiseQuadratic}


class JellyLIF(nn.Module):
    """A multi-step LIFNode; half-precision currents are integrated in float32.

    SpikingJelly decays by v - v / tau, which is rounded as beta v is where tau is a power of two.

    Args:
        equation: the neuron's parameters.

    Raises:
        BenchError: tau is 1, which LIFNode refuses.
    """

    spiking = True

    def __init__(self, equation: LIF) -> None:
        super().__init__()
        if equation.tau <= 1.0:
            raise BenchError("the neuron backend 'spikingjelly' needs tau > 1; 'fused' takes tau = 1")
        node = neuron.LIFNode(
            tau=float(equation.tau),
            decay_input=False,
            v_threshold=float(equation.threshold),
            v_reset=0.0 if equation.reset == "hard" else None,
            surrogate_function=_SURROGATES[equation.surrogate](alpha=equation.alpha),
            detach_reset=equation.detach_reset,
            step_mode="m",
        )
        # In a tuple it is no submodule: its surrogate calls itself `spiking` too, which here means a neuron layer.
        # It has no parameter or buffer that would have to travel with the model.
        self._nodes = (node,)

    def forward(self, currents: Tensor) -> Tensor:
        """Map currents [T, N, ...] to spikes [T, N, ...], from a membrane at zero."""
        self.reset()
        wide = currents.float() if currents.dtype in _HALVES else currents
        spikes: Tensor = self._nodes[0](wide)
        self.reset()
        return spikes.to(currents.dtype)

    def reset(self) -> None:
        """Forget the membrane (and the graph it hangs on)."""
        self._nodes[0].reset()
