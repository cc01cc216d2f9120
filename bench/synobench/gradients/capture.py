"""The way by hooks: one ordinary forward and backward pass, and each layer's gradient by rows from what went through.

A layer's weight gradient is a sum over places of products of its input and the gradient of its output. The backward
pass stops at the layers' outputs; the products are then taken for each row apart: a batched matrix product for linear
layers, one convolution with as many groups as there are rows for convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from synobench.gradients.ways import Found, Problem


@dataclass
class Call:
    """One call of a layer: its input, and the edge of the graph at which its output's gradient arrives."""

    layer: nn.Linear | _ConvNd
    input: Tensor
    output: GradientEdge


def supported(problem: Problem) -> bool:
    """Say whether each prunable weight belongs to layers whose products are known here."""
    owners = list(_owners(problem.model, problem))
    named = {name for name, _ in owners}
    return named == set(problem.weights) and all(_known(layer) for _, layer in owners)


def by_hooks(problem: Problem, inputs: Tensor, labels: Tensor) -> Found:
    """Take one forward and one backward pass over all rows; yield each layer's gradients by rows as they are made."""
    rows = inputs.shape[0] // problem.size
    with _recording(problem) as calls, torch.enable_grad():
        # The sum of the rows' mean losses: each row's gradient is its own, for no layer mixes samples.
        loss = problem.loss(problem.model(inputs), labels) * rows
    edges = [call.output for made in calls.values() for call in made]
    found = iter(torch.autograd.grad(loss, edges, allow_unused=True))
    for name, made in calls.items():
        given = [(call, next(found)) for call in made]
        parts = [_products(call, g, rows, problem.size) for call, g in given if g is not None]
        weight = problem.weights[name]
        yield name, sum(parts[1:], start=parts[0]) if parts else weight.new_zeros((rows, *weight.shape))


@contextmanager
def _recording(problem: Problem) -> Iterator[dict[str, list[Call]]]:
    calls: dict[str, list[Call]] = {name: [] for name in problem.weights}

    def watch(name: str) -> Any:
        def keep(layer: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name].append(Call(layer, args[0].detach(), get_gradient_edge(output)))

        return keep

    handles = [layer.register_forward_hook(watch(name)) for name, layer in _owners(problem.model, problem)]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _owners(model: nn.Module, problem: Problem) -> Iterator[tuple[str, Any]]:
    names = {id(weight): name for name, weight in problem.weights.items()}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if id(weight) in names:
            yield names[id(weight)], module


def _known(layer: nn.Module) -> bool:
    if isinstance(layer, _ConvNd):
        plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return plain and not isinstance(layer, _ConvTransposeNd)
    return type(layer) is nn.Linear


def _products(call: Call, gradient: Tensor, rows: int, size: int) -> Tensor:
    """Return [rows, *weight.shape] from a layer's input and the gradient of its output.

    The leading dimension is steps * rows * size: time is folded before the samples.
    """
    layer = call.layer
    if isinstance(layer, nn.Linear):
        return _linear(_by_row(call.input, rows, size), _by_row(gradient, rows, size))
    return _convolution(layer, call.input, gradient, rows, size)


def _by_row(x: Tensor, rows: int, size: int) -> Tensor:
    """Turn [steps * rows * size, ..., features] into [rows, places, features]."""
    return x.reshape(-1, rows, size, *x.shape[1:]).movedim(1, 0).reshape(rows, -1, x.shape[-1])


def _linear(x: Tensor, gradient: Tensor) -> Tensor:
    if x.shape[1] == 1:
        return gradient.transpose(1, 2) * x
    return torch.bmm(gradient.transpose(1, 2), x)


def _convolution(layer: _ConvNd, x: Tensor, gradient: Tensor, rows: int, size: int) -> Tensor:
    shape = (rows * layer.out_channels, *layer.weight.shape[1:])
    found: Tensor = torch.ops.aten.convolution_backward(
        _side_by_side(gradient, rows, size),
        _side_by_side(x, rows, size),
        x.new_empty(1).expand(shape),
        None,
        layer.stride,
        layer.padding,
        layer.dilation,
        False,
        [0],
        rows * layer.groups,
        [False, True, False],
    )[1]
    return found.view(rows, *layer.weight.shape)


def _side_by_side(x: Tensor, rows: int, size: int) -> Tensor:
    """Turn [steps * rows * size, C, ...] into [steps * size, rows * C, ...]: rows become groups of channels."""
    apart = x.reshape(-1, rows, size, *x.shape[1:]).transpose(1, 2)
    return apart.reshape(-1, rows * x.shape[1], *x.shape[2:])
