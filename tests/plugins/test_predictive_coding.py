"""Predictive coding: the equivalences that hold and one that does not, in float64; what it keeps, refuses and measures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synobench.neurons import LIF
from synobench.stages import Chain, stages_of
from synobench_models.ordinary import residual_mlp, vgg5
from synobench_models.params import VGG5, ResidualMLP, SpikingMLP
from synobench_models.spiking import mlp as spiking_mlp
from synobench_neurons.module import FusedLIF
from synobench_predictive_coding import PredictiveCoding, errors, states, zil
from synobench_predictive_coding.feedback import Feedback
from synobench_predictive_coding.inference import Inferred, Task
from synobench_predictive_coding.output import output_of, told

SHAPE, CLASSES, BATCH = (1, 8, 8), 4, 6


def fired() -> nn.Module:
    return FusedLIF(LIF())


def network(kind: str, pool: str = "max") -> nn.Module:
    torch.manual_seed(3)
    if kind == "spiking":
        made = spiking_mlp(SpikingMLP(widths=(12, 9), steps=3), SHAPE, CLASSES, fired)
    elif kind == "conv":
        made = vgg5(VGG5(widths=(3, 4, 4, 5), activation="tanh", pool=pool), (1, 16, 16), CLASSES)
    else:
        skip, activation = kind.split("-")
        params = ResidualMLP(depth=5, width=11, activation=activation, skip=skip == "skip", gain=1.5)
        made = residual_mlp(params, SHAPE, CLASSES)
    return made.double()


def images(kind: str) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    shape = (1, 16, 16) if kind == "conv" else SHAPE
    return torch.randn(BATCH, *shape, generator=draws, dtype=torch.float64), torch.arange(BATCH) % CLASSES


def task(model: nn.Module, kind: str, how: PredictiveCoding, **more: Any) -> Task:
    inputs, labels = images(kind)
    chain = Chain(stages_of(model))
    traces = chain.forward(inputs)
    output = output_of(traces[-1].y, labels, how.loss, how.output_precision, how.nudge)
    return Task(chain, traces, output, how, **more)


def how(**more: Any) -> PredictiveCoding:
    return PredictiveCoding(**{"energy": "off", "guard": False, "loss": "mse", **more})


def gradients(chain: Chain, found: Inferred) -> list[Tensor]:
    """Return the gradients of the energy by the weights, parameter by parameter in the model's order."""
    every = [link.gradients(t, e, -1.0) for link, t, e in zip(chain.links, found.traces, found.errors, strict=True)]
    return [gradient for each in every for _, gradient in each]


def by_backprop(model: nn.Module, kind: str, loss: str = "mse") -> list[Tensor]:
    inputs, labels = images(kind)
    read = told(model_of(model)(inputs))
    target = F.one_hot(labels, CLASSES).double()
    total = 0.5 * (target - read).square().sum() if loss == "mse" else F.cross_entropy(read, labels, reduction="sum")
    held = [p for stage in stages_of(model) for p in stage.parameters()]
    return list(torch.autograd.grad(total, held))


def model_of(model: nn.Module) -> nn.Module:
    """Reset neurons as the bench does, and return the network."""
    for module in model.modules():
        if getattr(module, "spiking", False) and module is not model:
            module.reset()  # type: ignore[operator]
    return model


def off(found: list[Tensor], right: list[Tensor]) -> float:
    """Return the largest relative difference of a gradient."""
    return max(float((a - b).norm() / b.norm()) for a, b in zip(found, right, strict=True))


KINDS = ["skip-gelu", "skip-relu", "plain-tanh", "conv", "spiking"]


@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
@pytest.mark.parametrize("kind", KINDS)
def test_z_il_is_backprop(kind: str, loss: str) -> None:
    model = network(kind)
    with torch.no_grad():
        at = task(model, kind, how(solver="zil", loss=loss))
        found = gradients(at.chain, zil.infer(at))
    assert off(found, by_backprop(model, kind, loss)) < 1e-13


@pytest.mark.parametrize("kind", ["skip-gelu", "plain-tanh", "conv"])
def test_an_error_that_first_arrives_is_backprops_times_gamma_for_each_sweep(kind: str) -> None:
    model, gamma = network(kind), 0.3
    exact = by_backprop(model, kind)
    depth, place = len(stages_of(model)), 0
    for stage in range(depth):
        with torch.no_grad():
            at = task(model, kind, how(steps=max(1, depth - 1 - stage), gamma=gamma))
            found = states.infer(at)
            link = at.chain.links[stage]
            # The traces at the time of arrival are those of the feed-forward pass.
            own = link.gradients(at.traces[stage], found.errors[stage], -1.0)
        if stage < depth - 1:
            expected = [gamma ** (depth - 1 - stage) * g for g in exact[place : place + len(own)]]
            assert off([g for _, g in own], expected) < 1e-12
        place += len(own)


def test_a_free_equilibrium_tends_to_backprop_as_the_outputs_precision_falls() -> None:
    model = network("plain-tanh")
    right = by_backprop(model, "plain-tanh")
    gaps = []
    for precision in (1e-2, 1e-3, 1e-4):
        with torch.no_grad():
            at = task(model, "plain-tanh", how(steps=3000, gamma=0.2, output_precision=precision))
            found = [g / precision for g in gradients(at.chain, states.infer(at))]
        gaps.append(off(found, right))
    assert gaps[2] < 1e-3
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.2)
    assert gaps[1] / gaps[2] == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize("kind", ["plain-tanh", "skip-gelu", "conv"])
@pytest.mark.parametrize("energy", ["off", "plain", "centred"])
def test_error_and_state_solvers_agree_at_equilibrium(kind: str, energy: str) -> None:
    # Smooth stages: where one has kinks, the two may land on different sides of one.
    model = network(kind, pool="average")
    wanted = how(steps=4000, gamma=0.1, energy=energy, alpha=0.2)

    def solved(module: Any) -> list[Tensor]:
        feedback = None
        if energy != "off":
            draws = torch.Generator().manual_seed(2)
            feedback = Feedback(Chain(stages_of(model)), draws, tied=False, centred=energy == "centred")
        with torch.no_grad():
            at = task(model, kind, wanted, feedback=feedback)
            return gradients(at.chain, module.infer(at))

    assert off(solved(errors), solved(states)) < 1e-10


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "spiking"])
def test_closed_forms_are_what_autograd_gives(kind: str) -> None:
    model = network(kind)
    opaque = [replace(stage, run=stage) for stage in stages_of(model)]
    with torch.no_grad():
        at = task(model, kind, how(steps=6))
        assert all(link.closed for link in at.chain.links)
        other = Chain(opaque)
        assert not any(link.closed for link in other.links)
        same = Task(other, other.forward(images(kind)[0]), at.output, at.how)
        found, right = states.infer(at), states.infer(same)
        assert off(gradients(at.chain, found), gradients(other, right)) < 1e-12
        assert off(found.states, right.states) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("energy", ["off", "centred"])
def test_the_wavefront_changes_nothing(kind: str, energy: str) -> None:
    model = network(kind)

    def solved(wavefront: bool) -> Inferred:
        wanted = how(steps=7, energy=energy, alpha=0.3, wavefront=wavefront)
        feedback = None
        if energy != "off":
            feedback = Feedback(Chain(stages_of(model)), torch.Generator().manual_seed(2), tied=False, centred=True)
        with torch.no_grad():
            return states.infer(task(model, kind, wanted, feedback=feedback))

    found, right = solved(True), solved(False)
    assert off(found.states, right.states) < 1e-12
    assert max(float((a - b).abs().max()) for a, b in zip(found.errors, right.errors, strict=True)) < 1e-12


def test_a_weak_nudge_of_a_clamped_output_is_not_backprop() -> None:
    """Nudging to zero was said to give backprop with a clamped output; it does not."""
    model = network("plain-tanh")
    right = by_backprop(model, "plain-tanh")
    gaps = []
    for nudge in (1e-1, 1e-3, 1e-5):
        with torch.no_grad():
            at = task(model, "plain-tanh", how(steps=6000, gamma=0.1, nudge=nudge))
            found = [g / nudge for g in gradients(at.chain, states.infer(at))]
        gaps.append(off(found, right))
    assert min(gaps) > 0.3
    assert gaps[1] == pytest.approx(gaps[2], rel=1e-2)
