"""The neuron equation: what every backend must compute, and what the record says was computed.

With input current x[t], membrane v, decay beta = 1 - 1/tau and threshold theta, for t = 1..T, from v[0] = 0:

    h[t] = beta v[t-1] + x[t]              (the input is not decayed)
    s[t] = 1 if h[t] >= theta else 0
    v[t] = h[t] (1 - s[t])                 reset "hard"
    v[t] = h[t] - theta s[t]               reset "soft"

In the backward pass ds/dh is the surrogate at u = h - theta, and the reset's own s is not differentiated where
`detach_reset` holds.  Surrogates: ``atan``  alpha / (2 (1 + (pi alpha u / 2)^2));  ``sigmoid``  alpha sigma(alpha u)
(1 - sigma(alpha u));  ``triangle``  max(0, 1 - |alpha u|) alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

from synobench.params import param


@dataclass(frozen=True)
class LIF:
    """Parameters of a leaky integrate-and-fire neuron (tau in time steps; threshold in units of the input)."""

    tau: float = param(2.0, low=1.0, doc="membrane time constant in steps; beta = 1 - 1/tau")
    threshold: float = param(1.0, low=1e-6, doc="the neuron fires at h >= threshold")
    reset: str = param("hard", choices=("hard", "soft"), doc="to zero, or by subtraction of the threshold")
    surrogate: str = param("atan", choices=("atan", "sigmoid", "triangle"), doc="derivative of the spike")
    alpha: float = param(2.0, low=1e-3, doc="sharpness of the surrogate")
    detach_reset: bool = param(True, doc="whether the reset is left out of the backward pass")

    @property
    def beta(self) -> float:
        """The membrane's decay a step, 1 - 1/tau."""
        return 1.0 - 1.0 / self.tau
