"""Networks: seeded alike, asked alike, state reset before each forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synobench import networks
from synobench.errors import ContractError
from synobench.registry import Registry
from synobench.suite import Cell
from synobench.tensors import digest

Cells = Callable[..., list[Cell]]


def built(cells: list[Cell], registry: Registry) -> nn.Module:
    return networks.build(cells[0].inputs, registry)


def test_one_seed_gives_one_network_whatever_was_drawn_before(registry: Registry, suite_cells: Cells) -> None:
    first = digest(built(suite_cells(), registry).state_dict())
    torch.rand(7)
    assert digest(built(suite_cells(pruners=["random"], values=[0.9], train=5), registry).state_dict()) == first
    assert digest(built(suite_cells(seeds=[1]), registry).state_dict()) != first


class Leaky(nn.Module):
    """A neuron that never forgets unless it is told to."""

    spiking = True

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return x + self.seen


def test_state_is_reset_before_every_pass_of_the_network_and_its_copies() -> None:
    model = nn.Sequential(nn.Identity(), Leaky())
    model.register_forward_pre_hook(networks._reset)
    x = torch.zeros(2)
    for asked in (model, copy.deepcopy(model)):
        assert asked(x).tolist() == asked(x).tolist() == [1.0, 1.0]


def test_the_bench_resets_whatever_neuron_it_builds_with(
    registry: Registry, suite_cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Leaky] = []
    entry = registry.get("neuron", "fused")
    monkeypatch.setattr(type(entry), "load", lambda _: lambda _equation: made.append(Leaky()) or made[-1])
    net = built(suite_cells(model="snn-mlp[widths=8]"), registry)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(net(x), net(x))
    assert [neuron.seen for neuron in made] == [1]


@pytest.mark.parametrize("model", ["snn-conv[width=2]", "snn-mlp[widths=8]"])
def test_a_spiking_network_answers_alike_twice(model: str, registry: Registry, suite_cells: Cells) -> None:
    net = built(suite_cells(model=model), registry)
    x = torch.rand(3, 1, 8, 8) * 4
    first = net(x)
    assert first.shape == (networks.steps_of(net), 3, 10)
    assert torch.equal(net(x), first)
    assert torch.equal(networks.logits(net, x), first.mean(0))


def test_an_ordinary_network_has_one_step(registry: Registry, suite_cells: Cells) -> None:
    net = built(suite_cells(), registry)
    x = torch.rand(3, 1, 8, 8)
    assert networks.steps_of(net) == 1
    assert torch.equal(networks.logits(net, x), net(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.bn = nn.BatchNorm2d(2)
        self.fc1 = nn.Linear(4, 3)
        self.fc2 = nn.Linear(3, 4)
        self.tied = nn.Linear(3, 4)
        self.tied.weight = self.fc2.weight
        self.scale = nn.Parameter(torch.ones(2))


def test_prunable_are_weights_of_layers_by_pattern_in_order() -> None:
    net = Net()
    assert list(networks.prunable(net, ["*"])) == ["conv.weight", "fc1.weight", "fc2.weight"]
    assert list(networks.prunable(net, ("fc?.weight", "conv.*"))) == ["conv.weight", "fc1.weight", "fc2.weight"]
    assert list(networks.prunable(net, ["fc1*"])) == ["fc1.weight"]
    assert networks.prunable(net, ["fc1*"])["fc1.weight"] is net.fc1.weight


@pytest.mark.parametrize("patterns", [["fc9*"], [], ["bn*"]])
def test_no_prunable_weight_is_told(patterns: list[str]) -> None:
    with pytest.raises(ContractError, match="no weight of the model matches"):
        networks.prunable(Net(), patterns)


def test_modes_come_back_module_by_module_even_after_an_error() -> None:
    net = Net()
    net.bn.eval()
    modes = {n: m.training for n, m in net.named_modules()}

    def asked() -> None:
        with networks.evaluating(net):
            assert not any(m.training for m in net.modules())
            net.train()
            raise ValueError("in between")

    with pytest.raises(ValueError, match="in between"):
        asked()
    assert {n: m.training for n, m in net.named_modules()} == modes


def test_a_neuron_gets_the_equation_of_the_inputs(registry: Registry, suite_cells: Cells, monkeypatch: Any) -> None:
    seen: list[Any] = []
    entry = registry.get("neuron", "fused")
    kind = entry.load()
    monkeypatch.setattr(type(entry), "load", lambda _: lambda eq: seen.append(eq) or kind(eq), raising=True)
    built(suite_cells(model="snn-conv[width=2]", more="neuron = 'fused[tau=4,threshold=0.5]'"), registry)
    assert [(e.tau, e.threshold) for e in seen] == [(4.0, 0.5)] * 2
