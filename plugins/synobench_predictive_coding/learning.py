r"""From gradients to new weights: SGD or AdamW, with layer-adaptive rates (LALR) before SGD.

.. math:: \eta_l = \eta \min(\kappa, \|W_l\| / (\|G_l\| + \epsilon))

The ratio scales the gradient of every parameter of stage l, weight and bias alike, before momentum adds it up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from synobench.rates import rate_at
from synobench.stages import Chain, Trace
from synobench_predictive_coding import PredictiveCoding
from synobench_predictive_coding.descent import Descent

EPSILON = 1e-12
"""Keeps the ratio finite where a stage has no gradient; there it is kappa."""


class Learning:
    """The optimiser over all stages of a network.

    Args:
        chain: the network.
        asked: the rule's parameters.
        total: updates of the phase. `warmup`: those of the warm-up.
        recorded: whether `move` is recorded as a graph, which reads the rate from the device.
    """

    def __init__(
        self, chain: Chain, asked: PredictiveCoding, total: int, warmup: int, *, recorded: bool = False
    ) -> None:
        self._chain, self._asked, self._total, self._warmup = chain, asked, total, warmup
        self._parameters = [p for link in chain.links for p in link.parameters()]
        self._rate = torch.full((), asked.rate, device=self._parameters[0].device) if recorded else asked.rate
        self._descent = Descent(self._parameters, asked)

    def gradients(self, errors: Sequence[Tensor], traces: Sequence[Trace], scale: float) -> list[Tensor]:
        """Return `scale` times the gradients of one batch, in the order of the parameters, under LALR if it is on."""
        every: list[Tensor] = []
        for link, error, trace in zip(self._chain.links, errors, traces, strict=True):
            found = link.gradients(trace, error, scale)
            if self._asked.lalr:
                adapt(found, self._asked.kappa)
            by_parameter = {id(parameter): gradient for parameter, gradient in found}
            for parameter in link.parameters():
                gradient = by_parameter.get(id(parameter))
                every.append(torch.zeros_like(parameter) if gradient is None else gradient)
        return every

    def aim(self, update: int) -> None:
        """Set the rate of an update."""
        asked = self._asked
        rate = rate_at(update, self._total, self._warmup, asked.rate, asked.schedule)
        self._rate = self._rate.fill_(rate) if isinstance(self._rate, Tensor) else rate

    def move(self, gradients: Sequence[Tensor]) -> None:
        """Move the weights down their gradients."""
        self._descent.move(gradients, self._rate)

    @property
    def moved(self) -> list[Tensor]:
        """What `move` moves."""
        return self._descent.moved

    def state(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        return self._descent.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self._descent.restore(state)


def adapt(found: Sequence[tuple[Tensor, Tensor]], kappa: float) -> None:
    """Scale one stage's gradients by min(kappa, |W| / (|G| + eps)), W its weight, the first of its parameters."""
    if found:
        weight, gradient = found[0]
        ratio = torch.linalg.vector_norm(weight) / (torch.linalg.vector_norm(gradient) + EPSILON)
        for _, each in found:
            each.mul_(ratio.clamp(max=kappa))
