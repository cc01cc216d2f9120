"""Stages: their composition is the network, their products are autograd's, and their passes are counted."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synobench import networks
from synobench.errors import ContractError
from synobench.params import as_dict, resolve
from synobench.registry import Registry
from synobench.stages import Chain, Link, Stage, cut, stages_of

NEURON = {"name": "fused", "params": {}}
MODELS = {
    "mlp-300-150-10": {},
    "mlp-residual": {},
    "lenet5": {},
    "vgg5": {},
    "vgg16": {},
    "resnet20": {},
    "snn-mlp": {},
    "snn-conv": {},
    "snn-vgg9": {},
    "snn-vgg16": {},
    "snn-resnet18": {},
}


def built(name: str, registry: Registry) -> nn.Module:
    entry = registry.get("model", name)
    params = as_dict(resolve(entry.params, MODELS[name], name))
    inputs = {"dataset": {"name": "cifar-10"}, "model": {"name": name, "params": params}, "seed": 0}
    return networks.build({**inputs, "neuron": NEURON if entry.spiking else None}, registry).double()


def test_every_built_in_model_is_told_here(registry: Registry) -> None:
    assert set(MODELS) == {found.entry.name for found in registry.all("model")}


@pytest.mark.parametrize("name", MODELS)
def test_the_composition_of_a_models_stages_is_the_model(name: str, registry: Registry) -> None:
    model = built(name, registry).eval()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        right = model(x)
        assert torch.allclose(Chain(stages_of(model)).forward(x)[-1].y, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["mlp-residual", "vgg5", "vgg16", "resnet20", "snn-vgg9"])
def test_pulls_and_gradients_through_the_chain_are_backprops_with_running_statistics(
    name: str, registry: Registry
) -> None:
    model = built(name, registry).eval()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out = model(x)
    e = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    held = dict(model.named_parameters())
    right = dict(zip(held, torch.autograd.grad((out * e).sum(), list(held.values())), strict=True))
    names = {id(p): n for n, p in held.items()}
    chain, found = Chain(stages_of(model)), {}
    with torch.no_grad():
        traces = chain.forward(x)
        for link, trace in zip(reversed(chain.links), reversed(traces), strict=True):
            found |= {names[id(p)]: g for p, g in link.gradients(trace, e)}
            if link is not chain.links[0]:
                e = link.pull(trace, e)
    assert found.keys() == right.keys()
    for n, gradient in right.items():
        assert torch.allclose(found[n], gradient, rtol=1e-8, atol=1e-10), n


class Normed(nn.Module):
    """Convolutions with batch norm, in closed form or as blocks."""

    def __init__(self, block: bool) -> None:
        super().__init__()
        self.block = block
        self.a = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
        self.b = nn.Sequential(nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten())
        self.c = nn.Sequential(nn.Linear(3, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x)))  # type: ignore[no-any-return]

    def stages(self) -> list[Stage]:
        parts = (("a", self.a), ("b", self.b), ("c", self.c))
        return [Stage(n, tuple(m), run=m if self.block else None) for n, m in parts]


def normed(block: bool) -> Normed:
    torch.manual_seed(0)
    return Normed(block).double()


@pytest.mark.parametrize("block", [False, True])
def test_a_feed_forward_pass_moves_running_statistics_as_the_network_does(block: bool) -> None:
    model = normed(block).train()
    other = copy.deepcopy(model)
    x = torch.randn(6, 2, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        chain = Chain(stages_of(other))
        traces = chain.forward(x)
        assert torch.allclose(traces[-1].y, model(x))
        for name, value in model.state_dict().items():
            assert torch.allclose(other.state_dict()[name], value), name
        chain.links[0].forward(2 * x)
        assert all(torch.equal(v, other.state_dict()[n]) for n, v in copy.deepcopy(other.state_dict()).items())


def test_inference_keeps_the_statistics_of_the_feed_forward_pass_in_both_forms() -> None:
    x, y = torch.randn(6, 2, 8, 8, dtype=torch.float64), torch.randn(6, 2, 8, 8, dtype=torch.float64)
    found = []
    for block in (False, True):
        chain = Chain(stages_of(normed(block).train()))
        assert [link.closed for link in chain.links] == [not block] * 3
        with torch.no_grad():
            chain.forward(x)
            trace = chain.links[0].forward(y)
            e = torch.ones_like(trace.y)
            pulled = chain.links[0].pull(trace, e)
            found.append((trace.y, pulled, *(g for _, g in chain.links[0].gradients(trace, e, 0.5))))
    for a, b in zip(*found, strict=True):
        assert a.shape == b.shape
        assert torch.allclose(a, b)


ACTIVATIONS = [nn.ReLU(), nn.LeakyReLU(0.2), nn.GELU(), nn.GELU(approximate="tanh"), nn.Tanh(), nn.Identity()]


@pytest.mark.parametrize("module", ACTIVATIONS, ids=repr)
def test_activations_have_closed_forms(module: nn.Module) -> None:
    stage = Stage("fc", (nn.Linear(5, 7).double(), module), skip=0.0)
    _compare(stage, torch.randn(3, 5, dtype=torch.float64))


@pytest.mark.parametrize(
    "module",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ],
    ids=repr,
)
def test_pooling_has_closed_forms(module: nn.Module) -> None:
    stage = Stage("conv", (nn.Conv2d(2, 4, 3, 2, 1, groups=2).double(), nn.ReLU(), module))
    _compare(stage, torch.randn(3, 2, 11, 9, dtype=torch.float64))


def test_a_skip_goes_around_its_modules() -> None:
    _compare(Stage("fc", (nn.Linear(5, 5).double(), nn.Tanh()), skip=0.3), torch.randn(3, 5, dtype=torch.float64))


def _compare(stage: Stage, x: Tensor) -> None:
    """Hold a stage's closed products against autograd."""
    link = Chain([stage]).links[0]
    assert link.closed
    given = x.clone().requires_grad_()
    y = stage(given)
    e = torch.randn(y.shape, dtype=torch.float64)
    wanted = [given, *stage.parameters()]
    right = torch.autograd.grad((y * e).sum(), wanted)
    with torch.no_grad():
        trace = link.forward(x)
        assert torch.allclose(trace.y, y)
        assert torch.allclose(link.pull(trace, e), right[0])
        base = torch.randn_like(x)
        assert torch.allclose(link.pulled(base, trace, e, 0.7, 0.2), 0.7 * base + 0.2 * right[0])
        for (parameter, gradient), known, own in zip(link.gradients(trace, e, 2.0), right[1:], wanted[1:], strict=True):
            assert parameter is own
            assert torch.allclose(gradient, 2.0 * known)


@pytest.mark.parametrize(
    "module",
    [nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.Conv2d(2, 4, 3, padding="same"), nn.Softplus()],
    ids=repr,
)
def test_what_has_no_closed_form_goes_through_autograd(module: nn.Module) -> None:
    layer = () if isinstance(module, nn.Conv2d) else (nn.Conv2d(2, 4, 3),)
    assert not Link(Stage("conv", (*layer, module)), Chain([])).closed


def test_cut_begins_a_stage_with_each_layer_and_gives_what_comes_before_to_the_first() -> None:
    named = {"flat": nn.Flatten(), "a": nn.Linear(4, 3), "act": nn.ReLU(), "b": nn.Linear(3, 2)}
    stages = cut(named.items())
    assert [stage.name for stage in stages] == ["a", "b"]
    assert [len(stage.modules) for stage in stages] == [3, 1]


def test_a_network_whose_stages_leave_a_parameter_out_or_share_one_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    whole = [Stage("0", (model[0],)), Stage("1", (model[1],))]
    for shown in (whole[:1], [*whole, whole[0]]):
        model.stages = lambda shown=shown: shown  # type: ignore[assignment,misc]
        with pytest.raises(ContractError, match="must hold each of its parameters once"):
            stages_of(model, "pair")
    model.stages = lambda: whole  # type: ignore[assignment]
    assert stages_of(model) == whole


class Meter:
    """Takes passes."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {"forward": 0, "backward": 0}

    def count(self, **passes: int) -> None:
        for name, number in passes.items():
            self.seen[name] += number


def test_passes_are_those_of_the_whole_network() -> None:
    meter: Any = Meter()
    layers = [nn.Linear(8, 8) for _ in range(4)]
    chain = Chain([Stage(str(i), (layer,)) for i, layer in enumerate(layers)], meter)
    x = torch.randn(5, 8)
    with torch.no_grad():
        traces = chain.forward(x)
        for _ in range(2):
            for link, trace in zip(chain.links, traces, strict=True):
                link.forward(trace.x)
                link.pull(trace, trace.y)
        for link, trace in zip(chain.links, traces, strict=True):
            link.gradients(trace, trace.y)
    assert meter.seen == {"forward": 0, "backward": 0}
    chain.settle()
    assert meter.seen == {"forward": 3, "backward": round(1.5)}
    chain.settle()
    assert meter.seen["forward"] == 3


def test_the_work_of_a_stage_without_closed_form_is_that_of_its_layers(registry: Registry) -> None:
    model = built("resnet20", registry)
    chain = Chain(stages_of(model))
    with torch.no_grad():
        chain.forward(torch.randn(2, 3, 32, 32, dtype=torch.float64))
    # 16 maps of 32 x 32, two 3 x 3 convolutions a block: 2 * 2 * 16 * 16 * 9 * 1024 multiply-adds for two images.
    assert chain.links[1].macs == 2 * 2 * 16 * 16 * 9 * 32 * 32
