"""What both pruners take from the workbench: how many images and weights, which algorithm, and Q itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synobench.gradients import SampleGradients
from synobench.workbench import Workbench
from synobench_chita.params import Chita, ChitaStages
from synobench_chita.quadratic import Quadratic
from synobench_chita.solve import Settings


def quadratic(gradients: SampleGradients, ridge: float, alpha: float) -> Quadratic:
    r"""Return Q at the weights of the gradients.

    With rows of several images, each the gradient of their mean, :math:`\alpha` is divided by their number: the outer
    product of a mean understates the Fisher matrix by as much.
    """
    dense, share = gradients.weights.double(), alpha / gradients.size
    linear = gradients.total.double() * (share / gradients.size) if share else torch.zeros_like(dense)
    return Quadratic(gradients.matrix, dense, gradients.drawn * ridge, linear, share)


def drawn(bench: Workbench, asked: Chita | ChitaStages) -> int:
    """Return how many images are drawn: as many as asked for, and no more whole rows than the training split has."""
    rows = min(asked.samples, len(bench.tools.feed)) // asked.size
    return max(1, rows) * asked.size


def kept(bench: Workbench) -> int:
    """Return how many weights the target leaves."""
    masks = bench.keep_highest({name: weight.abs() for name, weight in bench.prunable.items()}).masks
    return sum(int(mask.sum()) for mask in masks.values())


def settings_of(asked: Chita | ChitaStages, bench: Workbench) -> Settings:
    """Return how the problem is solved on the network at hand."""
    variant = asked.variant
    if variant == "auto":
        convolutions = any(isinstance(module, nn.modules.conv._ConvNd) for module in bench.model.modules())
        variant = "bso-block" if convolutions else "bso-swaps"
    lengths = [weight.numel() for weight in bench.prunable.values()]
    return Settings(
        variant, asked.support, asked.iterations, asked.sweeps, asked.swaps, asked.block, asked.drop, lengths
    )


def tensors_of(bench: Workbench, flat: Tensor) -> dict[str, Tensor]:
    """Cut a vector [p] over all prunable weights into tensors, by name."""
    lent = bench.prunable
    parts = torch.split(flat, [weight.numel() for weight in lent.values()])
    return {name: part.view(lent[name].shape) for name, part in zip(lent, parts, strict=True)}


def put(bench: Workbench, weights: Tensor) -> None:
    """Write weights [p] into the working copy."""
    lent = bench.prunable
    for name, value in tensors_of(bench, weights).items():
        lent[name].copy_(value)
