"""SGD with momentum and AdamW over all parameters, in one call each.

``torch.optim`` calls the same kernels, and spends as long around them, up to a tenth of a small perceptron's update.
Hence the kernels themselves; a test holds them to ``torch.optim``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from synobench_predictive_coding import PredictiveCoding

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Of AdamW, as torch has them by default."""


class Descent:
    """The optimiser that the rule's parameters ask for; its state is on the parameters' device."""

    def __init__(self, parameters: Sequence[nn.Parameter], asked: PredictiveCoding) -> None:
        self._parameters: list[Tensor] = list(parameters)
        self._asked = asked
        self._adaptive = asked.optimizer == "adamw"
        kept = 2 if self._adaptive else int(asked.momentum > 0)
        self._moments = [[torch.zeros_like(p) for p in self._parameters] for _ in range(kept)]
        self._done = torch.zeros((), device=self._parameters[0].device)

    @torch.no_grad()
    def move(self, gradients: Sequence[Tensor], rate: float | Tensor) -> None:
        """Move the parameters down their gradients, at a rate that may lie on the device."""
        held = [laid_out(g.to(p.dtype), p) for g, p in zip(gradients, self._parameters, strict=True)]
        for parameter, gradient in zip(self._parameters, held, strict=True):
            parameter.grad = gradient
        alike: dict[str, Any] = {"lr": rate, "weight_decay": self._asked.decay, "maximize": False}
        if self._adaptive:
            self._done.add_(1)
            steps, (one, two) = [self._done] * len(held), BETAS
            betas: dict[str, Any] = {"beta1": one, "beta2": two, "eps": EPSILON, "amsgrad": False}
            mean, square = self._moments
            torch._fused_adamw_(self._parameters, held, mean, square, [], steps, **betas, **alike)
            return
        buffers = self._moments[0] if self._moments else []
        # From zero, momentum takes the first gradient whole, as torch does at its first step.
        more: dict[str, Any] = {
            "momentum": self._asked.momentum,
            "dampening": 0.0,
            "nesterov": False,
            "is_first_step": False,
        }
        torch._fused_sgd_(self._parameters, held, buffers, **more, **alike)

    @property
    def moved(self) -> list[Tensor]:
        """What `move` moves: the parameters, and the state."""
        return [*self._parameters, self._done, *(moment for kind in self._moments for moment in kind)]

    def state(self) -> dict[str, Any]:
        """Return the state."""
        return {"done": self._done.clone(), "moments": [[m.clone() for m in kind] for kind in self._moments]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self._done.copy_(state["done"])
        for kind, told in zip(self._moments, state["moments"], strict=True):
            for moment, value in zip(kind, told, strict=True):
                moment.copy_(value)


def laid_out(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Return a gradient whose numbers lie as the parameter's do: the kernels go through both side by side."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
