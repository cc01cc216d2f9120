"""Ways to the gradient of each row's loss: one backward pass a row, or ``torch.func`` over many rows at once.

Each way is a function ``(problem, inputs [r * size, ...], labels [r * size]) -> iterator of (name, [r, *shape])``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from synobench.networks import logits

Found = Iterator[tuple[str, Tensor]]


@dataclass(frozen=True)
class Problem:
    """What is differentiated: the mean cross-entropy of `size` images, with respect to `weights`, in evaluation mode.

    Args:
        model: the network, in evaluation mode.
        weights: its prunable parameters, by name in the model's order.
        size: images a row.
    """

    model: nn.Module
    weights: Mapping[str, nn.Parameter]
    size: int = 1

    def loss(self, out: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of outputs [N, classes], or of [T, N, classes] averaged over time."""
        return F.cross_entropy(out.mean(0) if out.dim() == 3 else out, labels)


def by_loop(problem: Problem, inputs: Tensor, labels: Tensor) -> Found:
    """Take one forward and one backward pass a row: slow, and right for any network."""
    weights = list(problem.weights.values())
    found = []
    for x, y in zip(torch.split(inputs, problem.size), torch.split(labels, problem.size), strict=True):
        loss = F.cross_entropy(logits(problem.model, x), y)
        found.append(torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True))
    for name, rows in zip(problem.weights, zip(*found, strict=True), strict=True):
        yield name, torch.stack(rows)


def by_vmap(problem: Problem, inputs: Tensor, labels: Tensor) -> Found:
    """Vectorise the gradient over rows: one forward and one backward pass, the weights shared, the rows apart."""
    weights = {name: weight.detach() for name, weight in problem.weights.items()}

    def loss(chosen: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return problem.loss(functional_call(problem.model, chosen, (x,)), y)

    rows = inputs.view(-1, problem.size, *inputs.shape[1:]), labels.view(-1, problem.size)
    found: dict[str, Tensor] = vmap(grad(loss), in_dims=(None, 0, 0))(weights, *rows)
    yield from found.items()
