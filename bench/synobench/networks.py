"""Networks as the bench builds, lends and asks them: seeded, neuron state reset before each forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial
from typing import Any

from torch import Tensor, nn

from synobench import seeds
from synobench.entries import ModelEntry, NeuronEntry
from synobench.errors import ContractError
from synobench.params import resolve
from synobench.registry import Registry


def build(inputs: Mapping[str, Any], registry: Registry, device: str = "cpu") -> nn.Module:
    """Build the network that a run's inputs name, initialised from its seed."""
    dataset = registry.get("dataset", inputs["dataset"]["name"])
    entry: ModelEntry = registry.get("model", inputs["model"]["name"])
    params = resolve(entry.params, inputs["model"]["params"], f"model {entry.name}")
    seeds.reseed(inputs["seed"], "initial weights")
    model: nn.Module = entry.load()(params, dataset.shape, dataset.classes, _neuron(inputs, registry))
    model.register_forward_pre_hook(_reset)
    return model.to(device)


def _neuron(inputs: Mapping[str, Any], registry: Registry) -> Any:
    if inputs["neuron"] is None:
        return None
    entry: NeuronEntry = registry.get("neuron", inputs["neuron"]["name"])
    equation = resolve(entry.params, inputs["neuron"]["params"], f"neuron {entry.name}")
    return partial(entry.load(), equation)


def _reset(model: nn.Module, _args: Any) -> None:
    # A forgotten reset leaks state, and its graph, from one batch into the next; so no caller is asked to remember it.
    for module in model.modules():
        if getattr(module, "spiking", False) and module is not model:
            module.reset()  # type: ignore[operator]


def steps_of(model: nn.Module) -> int:
    """Return the time steps of a spiking network, 1 for an ordinary one."""
    return int(getattr(model, "steps", 1))


def logits(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return [N, classes]: the output of an ordinary network, the mean over time of a spiking one's."""
    out: Tensor = model(inputs)
    return out.mean(0) if out.dim() == 3 else out


def prunable(model: nn.Module, patterns: list[str] | tuple[str, ...]) -> dict[str, nn.Parameter]:
    """Return the weights of convolutions and linear layers that pruners may touch, by name, in the model's order.

    Raises:
        ContractError: no weight matches the model's patterns.
    """
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    layers = {id(m.weight) for m in model.modules() if isinstance(m, kinds)}
    found = {n: p for n, p in model.named_parameters() if id(p) in layers and any(fnmatch(n, q) for q in patterns)}
    if not found:
        raise ContractError(f"no weight of the model matches its prunable patterns {', '.join(patterns)}")
    return found


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode for a while, each of its modules back as it was."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
