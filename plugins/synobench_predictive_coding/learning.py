r"""From gradients to new weights: SGD or AdamW, with layer-adaptive rates (LALR) before SGD.

.. math:: \eta_l = \eta \min(\kappa, \|W_l\| / (\|G_l\| + \epsilon))

The ratio scales the gradient of every parameter of stage l, weight and bias alike, before momentum adds it up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from synobench.rates import rate_at
from synobench.stages import Chain, Trace
from synobench_predictive_coding import PredictiveCoding

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
        self._rate = torch.full((), asked.rate, device=self._parameters[0].device) if recorded else None
        self._optimizer = _optimizer(self._parameters, asked, self._rate)

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
        rate: float | Tensor = rate_at(update, self._total, self._warmup, asked.rate, asked.schedule)
        if self._rate is not None:
            rate = self._rate.fill_(rate)
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def move(self, gradients: Sequence[Tensor]) -> None:
        """Move the weights down their gradients."""
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = _laid_out(gradient.to(parameter.dtype), parameter)
        self._optimizer.step()

    @property
    def moved(self) -> list[Tensor]:
        """What `move` moves: the weights, and the optimiser's state of each."""
        states = [t for held in self._optimizer.state.values() for t in held.values() if isinstance(t, Tensor)]
        return [*self._parameters, *states]

    def state(self) -> dict[str, Any]:
        """Return the optimiser's state; rates are those of an update, and no part of it."""
        told = self._optimizer.state_dict()
        groups = [{**group, "lr": self._asked.rate} for group in told["param_groups"]]
        return {**told, "param_groups": groups}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self._optimizer.load_state_dict(dict(state))


def adapt(found: Sequence[tuple[Tensor, Tensor]], kappa: float) -> None:
    """Scale one stage's gradients by min(kappa, |W| / (|G| + eps)), W its weight, the first of its parameters."""
    if found:
        weight, gradient = found[0]
        ratio = torch.linalg.vector_norm(weight) / (torch.linalg.vector_norm(gradient) + EPSILON)
        for _, each in found:
            each.mul_(ratio.clamp(max=kappa))


def _laid_out(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Return a gradient whose numbers lie as the parameter's do: fused optimisers go through both side by side."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _optimizer(parameters: list[nn.Parameter], asked: PredictiveCoding, rate: Tensor | None) -> torch.optim.Optimizer:
    at = asked.rate if rate is None else rate
    if asked.optimizer == "adamw":
        recorded = rate is not None
        return torch.optim.AdamW(parameters, lr=at, weight_decay=asked.decay, fused=True, capturable=recorded)
    return torch.optim.SGD(parameters, lr=at, momentum=asked.momentum, weight_decay=asked.decay, fused=True)
