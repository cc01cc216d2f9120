"""Predictive coding: the equivalences that hold and one that does not, what it keeps, refuses and measures."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synobench.errors import ContractError
from synobench.feed import Feed
from synobench.neurons import LIF
from synobench.rules import Session
from synobench.stages import Chain, Stage, stages_of
from synobench_models.ordinary import mlp, residual_mlp, vgg5
from synobench_models.params import MLP, VGG5, ResidualMLP, SpikingConv, SpikingMLP
from synobench_models.spiking import conv as spiking_conv
from synobench_models.spiking import mlp as spiking_mlp
from synobench_neurons.module import FusedLIF
from synobench_predictive_coding import PredictiveCoding, errors, states, traced, zil
from synobench_predictive_coding.descent import Descent, laid_out
from synobench_predictive_coding.feedback import Feedback
from synobench_predictive_coding.inference import Inferred, Task
from synobench_predictive_coding.learning import adapt
from synobench_predictive_coding.output import output_of, told
from synobench_predictive_coding.rule import PredictiveCodingRule
from synobench_predictive_coding.sweeps import Sweeps

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
    assert off(found, by_backprop(model, kind, loss)) < 1e-14


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
            at = task(model, "plain-tanh", how(steps=1000, gamma=0.3, output_precision=precision))
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
    # Skips and strong weights make the energy steeper, and rounding larger.
    steps, gamma, bound = (8000, 0.1, 2e-14) if kind == "skip-gelu" else (1000, 0.3, 2e-15)
    wanted = how(steps=steps, gamma=gamma, energy=energy, alpha=0.2)

    def solved(module: Any) -> tuple[Inferred, list[Tensor]]:
        feedback = None
        if energy != "off":
            draws = torch.Generator().manual_seed(2)
            feedback = Feedback(Chain(stages_of(model)), draws, tied=False, centred=energy == "centred")
        with torch.no_grad():
            at = task(model, kind, wanted, feedback=feedback)
            found = module.infer(at)
            return found, gradients(at.chain, found)

    (found, own), (right, exact) = solved(errors), solved(states)
    for a, b in zip([*found.states, *found.errors], [*right.states, *right.errors], strict=True):
        assert float((a - b).abs().max()) < bound
    assert off(own, exact) < 1e-12


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
            draws, spiking = torch.Generator().manual_seed(2), kind == "spiking"
            feedback = Feedback(Chain(stages_of(model)), draws, tied=False, centred=True, spiking=spiking)
        with torch.no_grad():
            return states.infer(task(model, kind, wanted, feedback=feedback))

    found, right = solved(True), solved(False)
    assert off(found.states, right.states) < 1e-12
    assert max(float((a - b).abs().max()) for a, b in zip(found.errors, right.errors, strict=True)) < 1e-12


def perceptron(activation: str) -> nn.Module:
    torch.manual_seed(3)
    made = mlp(MLP(widths=(24, 10, 7)), SHAPE, CLASSES)
    for name, module in list(made.named_modules()):
        if isinstance(module, nn.ReLU):
            parent, _, last = name.rpartition(".")
            setattr(made.get_submodule(parent), last, ACTIVATIONS[activation]())
    return made.double()


ACTIVATIONS = {"relu": nn.ReLU, "leaky": lambda: nn.LeakyReLU(0.2), "tanh": nn.Tanh, "gelu": nn.GELU}


@pytest.mark.parametrize("kind", ["skip-gelu", "skip-relu", "plain-tanh", *ACTIVATIONS])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"wavefront": False, "loss": "cross-entropy"},
        {"guard": True, "gamma": 1.2, "output_precision": 3.0},
        {"steps": 2, "nudge": 0.3},
        {"steps": 40, "guard": True, "tolerance": 1e-2, "loss": "cross-entropy", "output_precision": 0.5},
    ],
    ids=["plain", "all stages", "guarded", "two sweeps", "stopped"],
)
def test_sweeps_in_buffers_are_those_on_states(kind: str, more: dict[str, Any]) -> None:
    model, wanted = network(kind) if "-" in kind else perceptron(kind), how(**{"steps": 9, **more})
    sweeps, place = None, torch.Generator().manual_seed(5)
    for _ in range(2):
        # The second batch finds the buffers full and the weights moved.
        with torch.no_grad():
            at = task(model, "", wanted)
            assert Sweeps.takes(at)
            sweeps = sweeps or Sweeps(at.chain, wanted, at.traces)
            assert sweeps.serves(at)
            found, right = sweeps.infer(at, look=wanted.guard), states.infer(at, look=wanted.guard)
            assert off(found.states, right.states) < 1e-12
            assert max(float((a - b).abs().max()) for a, b in zip(found.errors, right.errors, strict=True)) < 1e-12
            pairs = zip(gradients(at.chain, found), gradients(at.chain, right), strict=True)
            assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in pairs)
            assert found.energies == pytest.approx(right.energies, rel=1e-12)
            assert found.halvings == right.halvings
            assert (found.halvings > 0) == (wanted.gamma > 1)
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=place, dtype=torch.float64), alpha=0.01)
    if wanted.tolerance:
        assert len(found.energies) < wanted.steps


@pytest.mark.parametrize("kind", ["skip-gelu", "skip-relu", "plain-tanh", *ACTIVATIONS])
@pytest.mark.parametrize(
    "more", [{}, {"wavefront": False, "loss": "cross-entropy"}, {"steps": 2, "nudge": 0.3}], ids=str
)
def test_what_is_written_to_be_traced_is_inference_on_states(kind: str, more: dict[str, Any]) -> None:
    model, wanted = network(kind) if "-" in kind else perceptron(kind), how(**{"steps": 9, **more})
    with torch.no_grad():
        at = task(model, "", wanted)
        found, right = traced.infer(at), states.infer(at)
        assert off(found.states, right.states) < 1e-12
        assert max(float((a - b).abs().max()) for a, b in zip(found.errors, right.errors, strict=True)) < 1e-12
        pairs = zip(gradients(at.chain, found), gradients(at.chain, right), strict=True)
        assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in pairs)


def test_buffers_are_made_anew_for_another_batch_size_and_for_other_weights() -> None:
    model, wanted = perceptron("relu"), how()
    with torch.no_grad():
        at = task(model, "", wanted)
        sweeps = Sweeps(at.chain, wanted, at.traces)
        assert not sweeps.serves(replace(at, traces=at.chain.forward(images("")[0][:3])))
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
        assert not sweeps.serves(at)


@pytest.mark.parametrize(("kind", "more"), [("conv", {}), ("spiking", {}), ("plain-tanh", {"incremental": True})])
def test_other_inference_is_left_to_the_states(kind: str, more: dict[str, Any]) -> None:
    with torch.no_grad():
        assert not Sweeps.takes(task(network(kind), kind, how(**more)))


def test_a_wide_second_stage_takes_fewer_multiply_adds_in_its_rows() -> None:
    counts = {}
    for solver in ("buffers", "states"):
        meter = Macs()
        with torch.no_grad():
            at = task(perceptron("relu"), "", how(steps=10, wavefront=False))
            at.chain.count = meter  # type: ignore[method-assign]
            (Sweeps(at.chain, at.how, at.traces) if solver == "buffers" else states).infer(at)
        counts[solver] = meter.done
    above = BATCH * (24 * 10 + 10 * 7 + 7 * 4)
    assert counts["states"] == 10 * (above + above / 2)
    rows = BATCH * (10 * 10 + 10 * 7 + 7 * 4)
    assert counts["buffers"] == 24 * 10 * 10 + 10 * (rows + BATCH * (10 * 7 + 7 * 4) / 2) + BATCH * 24 * 10 / 2


def test_the_wavefront_in_buffers_takes_the_multiply_adds_that_it_takes_on_states() -> None:
    # Skip connections leave the first error as it is, so both count alike.
    counts = []
    for solver in ("buffers", "states"):
        for wavefront in (True, False):
            meter = Macs()
            with torch.no_grad():
                at = task(network("skip-relu"), "", how(steps=3, wavefront=wavefront))
                at.chain.count = meter  # type: ignore[method-assign]
                (Sweeps(at.chain, at.how, at.traces) if solver == "buffers" else states).infer(at)
            counts.append(meter.done)
    assert counts[:2] == counts[2:]
    assert counts[0] < counts[1]


@pytest.mark.parametrize(
    ("more", "used"), [({"energy": "off"}, True), ({}, False), ({"energy": "off", "incremental": True}, False)]
)
def test_the_rule_relaxes_perceptrons_in_buffers_where_it_can(more: dict[str, Any], used: bool) -> None:
    rule, _, _ = trained(small(), PredictiveCoding(**more), epochs=1)
    assert bool(rule._sweeps) == used


class Macs:
    """Stands in for a chain's count."""

    def __init__(self) -> None:
        self.done = 0.0

    def __call__(self, _kind: str, macs: float) -> None:
        self.done += macs


def test_a_weak_nudge_of_a_clamped_output_is_not_backprop() -> None:
    """Nudging to zero was said to give backprop with a clamped output; it does not."""
    model = network("plain-tanh")
    right = by_backprop(model, "plain-tanh")
    gaps = []
    for nudge in (1e-1, 1e-3, 1e-5):
        with torch.no_grad():
            at = task(model, "plain-tanh", how(steps=1200, gamma=0.3, nudge=nudge))
            found = [g / nudge for g in gradients(at.chain, states.infer(at))]
        gaps.append(off(found, right))
    assert min(gaps) > 0.3
    assert gaps[1] == pytest.approx(gaps[2], rel=1e-2)


def feed(images: int = 64) -> Feed:
    draws = np.random.default_rng(0)
    labels = draws.integers(0, CLASSES, images)
    pixels = draws.integers(0, 60, (images, *SHAPE), dtype=np.uint8)
    pixels[np.arange(images), 0, labels] += 150
    return Feed(pixels, labels, [0.3], [0.3])


def session(model: nn.Module, **more: Any) -> Session:
    usual: dict[str, Any] = {"feed": feed(), "phase": "train", "epochs": 3, "batch": 16, "seed": 0, "network": "it"}
    return Session(model=model, **{**usual, **more})


def trained(
    model: nn.Module, params: PredictiveCoding, **more: Any
) -> tuple[PredictiveCodingRule, Session, list[float]]:
    rule, lent = PredictiveCodingRule(params), session(model, **more)
    rule.begin(lent)
    losses = [float(p.loss) for epoch in range(lent.epochs) for p in rule.epoch(lent, epoch)]
    return rule, lent, losses


def small() -> nn.Module:
    return network("skip-gelu").float()


VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "states": {"energy": "off"},
    "plain": {"energy": "plain", "alpha": 0.01, "fit": 5},
    "tied": {"backward": "tied"},
    "errors": {"solver": "error", "steps": 5, "gamma": 0.3},
    "zil": {"solver": "zil"},
    "adamw": {"lalr": False, "optimizer": "adamw", "rate": 0.003},
    "incremental": {"incremental": True, "energy": "off"},
    "nudged": {"nudge": 0.3, "nudging": "centred"},
    "squared": {"loss": "mse"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_learns(variant: str) -> None:
    _, _, losses = trained(small(), PredictiveCoding(**{"rate": 0.02, **VARIANTS[variant]}), epochs=6)
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


@pytest.mark.parametrize("variant", ["default", "plain", "errors", "adamw", "incremental"])
def test_a_restored_rule_goes_on_to_the_bit(variant: str) -> None:
    params = PredictiveCoding(**VARIANTS[variant])
    whole, _, _ = trained(small(), params, epochs=3)
    first = PredictiveCodingRule(params)
    lent = session(small(), epochs=3)
    first.begin(lent)
    list(first.epoch(lent, 0))
    later = session(small(), epochs=3)
    second = PredictiveCodingRule(params)
    second.begin(later)
    later.model.load_state_dict(lent.model.state_dict())
    second.restore(first.state())
    for epoch in (1, 2):
        list(second.epoch(later, epoch))
    for a, b in zip(later.model.parameters(), whole._session.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert second.measurements() == whole.measurements()


def test_removed_weights_stay_removed_between_the_updates_of_one_batch() -> None:
    model = small()
    weight = model.get_submodule("fc2").weight
    assert isinstance(weight, nn.Parameter)
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    seen = []

    def enforce() -> None:
        with torch.no_grad():
            weight.mul_(mask)
        seen.append(1)

    enforce()
    trained(model, PredictiveCoding(incremental=True, energy="off", steps=4), enforce=enforce, epochs=1)
    assert len(seen) == 1 + 4 * 4
    assert int(torch.count_nonzero(weight[~mask])) == 0


class Opened(nn.Module):
    """A network without stages."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, CLASSES)


def test_a_model_without_stages_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="model it shows no stages"):
        PredictiveCodingRule(PredictiveCoding()).begin(session(Opened()))


def test_half_precision_is_refused_on_states_and_borne_by_errors() -> None:
    with pytest.raises(ContractError, match="solver=state needs precision float32, not bfloat16"):
        PredictiveCodingRule(PredictiveCoding()).begin(session(small(), precision="bfloat16"))
    half = PredictiveCoding(solver="error", energy="off", steps=5, gamma=0.3, rate=0.02)
    _, _, losses = trained(small(), half, precision="bfloat16", epochs=6)
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


def test_too_few_sweeps_for_the_depth_are_told() -> None:
    with pytest.warns(UserWarning, match="steps=3 leaves the lowest of 5 stages without error; give steps=4"):
        PredictiveCodingRule(PredictiveCoding(steps=3)).begin(session(small()))


def test_stages_without_a_backward_map_are_refused_by_name() -> None:
    stage = Stage("block", (nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)),))
    chain = Chain([Stage("fc1", (nn.Linear(3, 3),)), stage])
    with pytest.raises(ContractError, match=r"stage block is no single linear layer or convolution.*energy=off"):
        Feedback(chain, torch.Generator(), tied=False, centred=True)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"optimizer": "adamw"}, "lalr=true scales gradients"),
        ({"nudge": 0.0}, "nudge must be above 0"),
        ({"compile": True}, "guard=false"),
        ({"compile": True, "guard": False, "tolerance": 0.1}, "tolerance=0"),
        ({"incremental": True, "solver": "error"}, "incremental=true goes with solver=state"),
    ],
)
def test_parameters_that_do_not_fit_together_are_told(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        PredictiveCoding(**wrong)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_backward_maps_are_linear_and_their_products_are_adjoint(kind: str, tied: bool) -> None:
    with torch.no_grad():
        chain = Chain(stages_of(network(kind)))
        traces = chain.forward(images(kind)[0])
        # Of a spiking network, the target held over its steps.
        held = [t.y for t in traces]
        feedback = Feedback(chain, torch.Generator().manual_seed(4), tied=tied, centred=False)
        for g, x, y in zip(feedback.maps, held[:-1], held[1:], strict=True):
            d, v = torch.randn_like(x), torch.randn_like(y)
            assert float((d * g.forward(v, x)).sum()) == pytest.approx(float((g.pull(d, v) * v).sum()), rel=1e-10)
            skipped = v * d if g._skip else None
            by_weight = float((g.gradient(d, v) * g.weight).sum()) + (0.0 if skipped is None else float(skipped.sum()))
            assert by_weight == pytest.approx(float((d * g.forward(v, x)).sum()), rel=1e-10)


def test_a_centred_half_pulls_on_nothing_at_the_feed_forward_states_but_where_the_target_differs() -> None:
    model = network("skip-gelu")
    chain = Chain(stages_of(model))
    feedback = Feedback(chain, torch.Generator().manual_seed(4), tied=False, centred=True)
    with torch.no_grad():
        at = task(model, "skip-gelu", how(energy="centred"), feedback=feedback)
        held = [trace.y for trace in at.traces[:-1]]
        feedback.centre(held, at.guess())
        still = feedback.forces(held, at.guess())
        moved = feedback.forces(held, at.top)
    assert all(int(torch.count_nonzero(f)) == 0 for f in still)
    assert [int(torch.count_nonzero(f)) > 0 for f in moved] == [False] * (len(held) - 1) + [True]


def test_the_forces_are_the_derivative_of_the_energy() -> None:
    model = network("skip-gelu")
    chain = Chain(stages_of(model))
    feedback = Feedback(chain, torch.Generator().manual_seed(4), tied=False, centred=False)
    with torch.no_grad():
        at = task(model, "skip-gelu", how(energy="plain"), feedback=feedback)
    held = [trace.y.detach().requires_grad_() for trace in at.traces[:-1]]
    total = 0.5 * torch.stack([d.square().sum() for d in feedback.errors(held, at.top)]).sum()
    right = torch.autograd.grad(total, held)
    with torch.no_grad():
        assert off(feedback.forces([h.detach() for h in held], at.top), list(right)) < 1e-12


def test_the_guard_takes_back_sweeps_that_raise_the_energy() -> None:
    model = network("skip-gelu")
    with torch.no_grad():
        wild = states.infer(task(model, "skip-gelu", how(gamma=3.0, steps=12)), look=True)
        held = states.infer(task(model, "skip-gelu", how(gamma=3.0, steps=12, guard=True)))
    assert max(wild.energies[1:]) > wild.energies[0]
    assert held.halvings > 0
    assert all(b <= a * (1 + 1e-6) for a, b in itertools.pairwise(held.energies))
    assert len(held.energies) == 1 + 12 - held.halvings


def test_inference_ends_where_the_energy_hardly_falls() -> None:
    model = network("skip-gelu")
    with torch.no_grad():
        found = states.infer(task(model, "skip-gelu", how(steps=500, tolerance=1e-3)))
    assert 3 < len(found.energies) < 200
    last, now = found.energies[-2:]
    assert last - now < 1e-3 * last


@pytest.mark.parametrize("batch", [3, BATCH])
@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_a_spiking_network_learns_with_a_backward_half_whatever_its_batch(kind: str, batch: int) -> None:
    # Three steps: a batch of three images must not be taken for three steps.
    torch.manual_seed(0)
    model: nn.Module = spiking_mlp(SpikingMLP(widths=(12, 9), steps=3), SHAPE, CLASSES, fired)
    if kind == "conv":
        model = spiking_conv(SpikingConv(width=3, steps=3), SHAPE, CLASSES, fired)
    _, _, losses = trained(model, PredictiveCoding(rate=0.02), spiking=True, batch=batch, epochs=4)
    assert sum(losses[-8:]) < sum(losses[:8])


@pytest.mark.parametrize("ratio", [0.5, 7.0, 1e9])
def test_lalr_scales_a_stage_by_the_ratio_of_its_norms_up_to_kappa(ratio: float) -> None:
    weight, bias = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(3))
    gradient = torch.randn(3, 4)
    gradient *= weight.detach().norm() / gradient.norm() / ratio
    found = [(weight, gradient.clone()), (bias, torch.ones(3))]
    with torch.no_grad():
        adapt(found, kappa=100.0)
    scale = min(ratio, 100.0)
    assert torch.allclose(found[0][1], gradient * scale, rtol=1e-5)
    assert torch.allclose(found[1][1], torch.full((3,), scale), rtol=1e-5)


def test_lalr_is_bounded_where_there_is_no_gradient() -> None:
    weight = nn.Parameter(torch.ones(3, 4))
    found = [(weight, torch.zeros(3, 4))]
    adapt(found, kappa=100.0)
    assert int(torch.count_nonzero(found[0][1])) == 0


def test_a_mean_over_time_spreads_its_error_over_the_steps() -> None:
    out = torch.randn(3, BATCH, CLASSES, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(BATCH) % CLASSES
    for kind in ("mse", "cross-entropy"):
        output = output_of(out.detach(), labels, kind, 0.7, 0.4)
        read = told(out)
        energy = 0.35 * (output.target - read).square().sum()
        if kind == "cross-entropy":
            energy = -0.7 * (output.target * torch.log_softmax(read, 1)).sum()
        (right,) = torch.autograd.grad(energy, out)
        assert torch.allclose(output.error(out.detach()), -right)
        assert output.energy(out.detach()) == pytest.approx(energy.item())


def test_measurements_tell_energies_and_cosines_by_update() -> None:
    rule, lent, _ = trained(small(), PredictiveCoding(steps=5), epochs=3)
    found = rule.measurements()
    assert found["energy"]["at"] == [0, lent.updates, 2 * lent.updates]
    assert found["energy"]["by"] == [str(i) for i in range(6)]
    assert all(a >= b for row in found["energy"]["values"] for a, b in itertools.pairwise(row))
    assert found["cosine-to-backprop"]["by"] == [f"fc{i}" for i in range(1, 6)]
    exact, _, _ = trained(small(), PredictiveCoding(solver="zil"), epochs=1)
    assert exact.measurements()["cosine-to-backprop"]["values"] == [pytest.approx([1.0] * 5)]
    assert "energy" not in exact.measurements()


class Counter:
    """Stands in for the meter."""

    def __init__(self) -> None:
        self.seen = {"forward": 0, "backward": 0}

    def count(self, **passes: int) -> None:
        for name, number in passes.items():
            self.seen[name] += number


def test_passes_are_counted_by_the_bench_in_those_of_the_whole_network() -> None:
    meter = Counter()
    trained(small(), PredictiveCoding(solver="zil", lalr=False), meter=meter, epochs=1)
    assert meter.seen["forward"] == 4
    # One gradient of every stage and a pull of all but the first are less than a whole backward pass; looks cost too.
    assert 3 <= meter.seen["backward"] <= 6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "told",
    [
        {"energy": "off"},
        {"energy": "centred"},
        {"energy": "off", "solver": "error", "steps": 4},
        {"solver": "zil"},
        {"energy": "off", "nudge": 0.3, "nudging": "centred", "loss": "mse"},
        {"energy": "off", "nudge": 0.3},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:torch compiled this step to another one")
def test_a_compiled_step_is_the_same_step_and_counts_the_same(told: dict[str, Any]) -> None:
    told_of = {}
    for quick in (False, True):
        meter = Counter()
        params = PredictiveCoding(**{"guard": False, "compile": quick, "steps": 2, **told})
        torch.manual_seed(0)
        rule, _, _ = trained(mlp(MLP(widths=(8,)), SHAPE, CLASSES), params, meter=meter, epochs=2)
        told_of[quick] = ([p.detach().clone() for p in rule._session.model.parameters()], meter.seen)
    assert told_of[True][1] == told_of[False][1]
    assert off(told_of[True][0], told_of[False][0]) < 1e-5


@pytest.mark.parametrize(
    "told",
    [
        {"momentum": 0.9, "decay": 0.01},
        {"momentum": 0.0},
        {"lalr": False, "optimizer": "adamw", "decay": 0.1},
    ],
    ids=str,
)
def test_the_optimiser_is_that_of_torch_and_goes_on_from_its_state(told: dict[str, Any]) -> None:
    draws = torch.Generator().manual_seed(0)
    first = [torch.randn(4, 3, generator=draws), torch.randn(4, generator=draws)]
    right, here = ([nn.Parameter(p.clone()) for p in first] for _ in range(2))
    asked = PredictiveCoding(**told)
    kind = torch.optim.AdamW if asked.optimizer == "adamw" else torch.optim.SGD
    more = {"momentum": asked.momentum} if kind is torch.optim.SGD else {}
    judge, descent = kind(right, lr=0.1, weight_decay=asked.decay, fused=True, **more), Descent(here, asked)
    for step in range(6):
        rate = 0.1 / (step + 1)
        for group in judge.param_groups:
            group["lr"] = rate
        for p in right:
            p.grad = torch.randn(p.shape, generator=draws)
        judge.step()
        descent.move([p.grad for p in right if p.grad is not None], rate)
        if step == 2:
            state = descent.state()
            descent.move([torch.ones_like(p) for p in here], 1.0)
            for p, q in zip(here, right, strict=True):
                p.data.copy_(q)
            descent = Descent(here, asked)
            descent.restore(state)
    assert all(torch.equal(a, b) for a, b in zip(here, right, strict=True))


def test_gradients_are_laid_out_as_their_parameters() -> None:
    # Channels innermost and not: of a single channel both look alike to torch, and have other strides.
    for shape in ((3, 1, 3, 3), (3, 2, 3, 3)):
        parameter = nn.Parameter(torch.randn(shape).contiguous(memory_format=torch.channels_last))
        gradient = torch.randn(shape)
        laid = laid_out(gradient, parameter)
        assert laid.stride() == parameter.stride()
        assert torch.equal(laid, gradient)
    assert laid_out(laid, parameter) is laid
    before = parameter.detach().clone()
    Descent([parameter], PredictiveCoding(momentum=0.0)).move([gradient], 0.1)
    assert torch.allclose(parameter, before - 0.1 * gradient)


def test_a_step_that_is_compiled_to_another_one_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synobench.stages.chain.traced", lambda step: lambda *given: [3 * t for t in step(*given)])
    chain = Chain(stages_of(small()))
    quick = chain.compiled(lambda x: [x, 2 * x])
    x = torch.ones(2)
    quick(x)
    with pytest.warns(UserWarning, match="runs uncompiled"):
        quick(x)
    assert [float(t.sum()) for t in quick(x)] == [2.0, 4.0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_steps_of_one_process_keep_apart() -> None:
    # Compiled without guards: neither another rule nor another shape may find the code of the first.
    for more in ({"gamma": 0.1}, {"gamma": 0.5}, {"gamma": 0.5, "steps": 3}):
        found = []
        for quick in (False, True):
            params = PredictiveCoding(**{"energy": "off", "guard": False, "compile": quick, "steps": 2, **more})
            torch.manual_seed(0)
            rule, _, _ = trained(mlp(MLP(widths=(8,)), SHAPE, CLASSES), params, epochs=2)
            found.append([p.detach().clone() for p in rule._session.model.parameters()])
        assert off(found[1], found[0]) < 1e-6


def test_the_loss_is_told_against_the_labels_however_weak_the_nudge() -> None:
    labels, out = torch.tensor([0, 1]), torch.zeros(2, 2)
    for nudge in (1.0, 0.1):
        assert float(output_of(out, labels, "mse", 3.0, nudge).loss(out)) == pytest.approx(0.5)
        assert float(output_of(out, labels, "cross-entropy", 3.0, nudge).loss(out)) == pytest.approx(np.log(2))
