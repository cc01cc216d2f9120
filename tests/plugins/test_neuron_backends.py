"""The three backends: the same spikes and gradients on `snn-conv` and on a residual block, and no state left behind."""

from __future__ import annotations

import gc
import importlib
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import synobench_neurons
import synobench_snntorch
import synobench_spikingjelly
from synobench.entries import NeuronEntry
from synobench.errors import BenchError
from synobench.neurons import LIF
from synobench_models.params import SpikingConv
from synobench_models.spiking import conv
from synobench_models.spiking_resnet import SpikingBlock

ENTRIES: dict[str, NeuronEntry] = {
    entry.name: entry
    for plugin in (synobench_neurons, synobench_snntorch, synobench_spikingjelly)
    for entry in plugin.synobench_neurons()
}
PEERS = ("snntorch", "spikingjelly")
RESETS = ("hard", "soft")


def backend(name: str, equation: LIF) -> Callable[[], nn.Module]:
    if name != "fused":
        pytest.importorskip(name, reason=f"{name} is not installed")
    return partial(ENTRIES[name].load(), equation)


def snn_conv(neuron: Callable[[], nn.Module]) -> tuple[nn.Module, tuple[int, ...]]:
    return conv(SpikingConv(6, 4), (1, 12, 12), 10, neuron), (8, 1, 12, 12)


class Block(nn.Module):
    """A residual block that changes width and size, under spikes of its own."""

    def __init__(self, neuron: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.first, self.block = neuron(), SpikingBlock(4, 8, 2, neuron)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(self.first(x))
        return out


def residual(neuron: Callable[[], nn.Module]) -> tuple[nn.Module, tuple[int, ...]]:
    return Block(neuron), (4, 6, 4, 8, 8)


def spikes_and_gradients(
    build: Callable[..., Any], name: str, equation: LIF, seed: int, dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor]]:
    """Return each neuron layer's spikes and each gradient of one network, its weights and input drawn by `seed`."""
    torch.manual_seed(seed)
    model, shape = build(backend(name, equation))
    model, x = model.to(dtype), (torch.randn(shape) * 2).to(dtype).requires_grad_()
    spikes: list[Tensor] = []
    for module in model.modules():
        if getattr(module, "spiking", False):
            module.register_forward_hook(lambda _m, _args, out: spikes.append(out.detach()))
    out = model(x)
    (out * torch.linspace(-1, 1, out.numel(), dtype=dtype).view_as(out)).sum().backward()
    return spikes, [x.grad, *(p.grad for p in model.parameters())]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("build", [snn_conv, residual])
@pytest.mark.parametrize("name", PEERS)
def test_backends_give_the_same_spikes_and_gradients(
    name: str, build: Callable[..., Any], reset: str, seed: int, dtype: torch.dtype
) -> None:
    equation = LIF(threshold=0.5, reset=reset)
    spikes, gradients = spikes_and_gradients(build, "fused", equation, seed, dtype)
    theirs, their_gradients = spikes_and_gradients(build, name, equation, seed, dtype)
    assert len(spikes) == len(theirs) >= 2
    for ours, other in zip(spikes, theirs, strict=True):
        assert 0.01 < float(ours.mean()) < 0.9
        assert torch.equal(ours, other)
    largest = max(float(g.abs().max()) for g in gradients)
    for ours, other in zip(gradients, their_gradients, strict=True):
        if dtype == torch.float64:
            torch.testing.assert_close(other, ours, atol=1e-9, rtol=0)
        torch.testing.assert_close(other / largest, ours / largest, atol=1e-6, rtol=0)


@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("surrogate", ["atan", "sigmoid", "triangle"])
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("name", PEERS)
def test_backends_agree_on_every_equation_they_claim(name: str, reset: str, surrogate: str, detach_reset: bool) -> None:
    assert reset in ENTRIES[name].resets
    assert surrogate in ENTRIES[name].surrogates
    equation = LIF(tau=4.0, threshold=0.7, reset=reset, surrogate=surrogate, alpha=1.3, detach_reset=detach_reset)
    x = torch.randn(5, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1.5
    found = []
    for each in ("fused", name):
        y = x.clone().requires_grad_()
        spikes = backend(each, equation)()(y)
        (spikes * torch.linspace(-1, 1, 300, dtype=torch.float64)).sum().backward()
        found.append((spikes.detach(), y.grad))
    assert found[1][0].dtype == torch.float64
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[1][1], found[0][1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ENTRIES)
def test_every_backend_fires_at_exactly_the_threshold(name: str, dtype: torch.dtype) -> None:
    x = torch.tensor([[0.5, 1.0, 0.25], [0.75, 0.9921875, 0.875]], dtype=dtype)
    spikes = backend(name, LIF())()(x)
    assert spikes.dtype == dtype
    assert spikes.tolist() == [[0, 1, 0], [1, 0, 1]]


@pytest.mark.parametrize("name", ENTRIES)
def test_no_state_outlives_a_call(name: str) -> None:
    neuron = backend(name, LIF())()
    assert neuron.spiking is True
    x = torch.full((3, 4), 0.4, requires_grad=True)
    first = neuron(x)
    assert torch.equal(neuron(x[:, :2]), first[:, :2])  # another batch size, no reset between
    neuron.reset()
    assert torch.equal(neuron(x), first)
    current = weakref.ref(x)
    del x, first
    gc.collect()
    assert current() is None  # nothing holds the graph, which holds its input


@pytest.mark.parametrize("name", ENTRIES)
def test_neurons_add_nothing_to_a_checkpoint_and_only_one_module_that_spikes(name: str) -> None:
    neuron = backend(name, LIF())()
    assert neuron.state_dict() == {}
    assert list(neuron.parameters()) == []
    assert [m for m in neuron.modules() if getattr(m, "spiking", False)] == [neuron]


def test_snntorch_keeps_none_of_our_neurons_alive() -> None:
    snntorch = pytest.importorskip("snntorch", reason="snntorch is not installed")
    before = len(snntorch.SpikingNeuron.instances)
    neuron = backend("snntorch", LIF())()
    assert len(snntorch.SpikingNeuron.instances) == before
    alive = weakref.ref(neuron)
    del neuron
    gc.collect()
    assert alive() is None


def test_spikingjelly_refuses_tau_1_by_name() -> None:
    make = backend("spikingjelly", LIF(tau=1.0))
    with pytest.raises(BenchError, match="needs tau > 1"):
        make()


@pytest.mark.parametrize("name", PEERS)
def test_a_missing_library_is_named_with_its_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module in [m for m in sys.modules if m.partition(".")[0] in (name, f"synobench_{name}")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BenchError, match=rf"pip install 'synobench\[{name}\]'"):
        importlib.import_module(f"synobench_{name}.module")


@pytest.mark.parametrize("plugin", [synobench_neurons, synobench_snntorch, synobench_spikingjelly])
def test_citations_are_in_the_plugins_references(plugin: Any) -> None:
    references = (Path(plugin.__file__).parent / "references.bib").read_text(encoding="utf-8")
    assert [e for e in plugin.synobench_neurons() if f"{{{e.citation}," not in references] == []
