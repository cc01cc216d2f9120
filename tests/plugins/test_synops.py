"""The counters against other tools, on networks drawn afresh, and against known faults of counting."""

from __future__ import annotations

import dataclasses
import importlib
import math
import os
import random
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synobench.errors import BenchError
from synobench.ledger import INPUT, Layer, Ledger
from synobench.ledger.recorder import Recorder
from synobench.params import as_dict, resolve
from synobench_synops import synobench_counters

ENTRIES = {entry.name: entry for entry in synobench_counters()}
OPERATIONS = ("dense", "nominal", "fanout", "effective")
FRESH = [int.from_bytes(os.urandom(4), "big") for _ in range(6)]
"""Seeds of this run's networks and inputs; a failing test is named by its seed."""


def oracle(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError as error:
            pytest.skip(f"{name} does not import: {error}")


def count(name: str, ledger: Ledger, **params: Any) -> dict[str, Any]:
    entry = ENTRIES[name]
    figures: dict[str, Any] = entry.load()(ledger, **as_dict(resolve(entry.params, params, name)))
    return figures


# --- networks --------------------------------------------------------------------------------------------------------


class Fire(nn.Module):
    """Leaky integrate-and-fire neurons over [T, N, ...], hard reset."""

    spiking = True

    def forward(self, currents: Tensor) -> Tensor:
        v, out = torch.zeros_like(currents[0]), []
        for current in currents:
            h = 0.5 * v + current
            out.append((h >= 1).to(h.dtype))
            v = h * (1 - out[-1])
        return torch.stack(out)


class Net(nn.Module):
    """conv - fire - pool - conv - norm - fire - pool - linear in float64; the image is shown at each of T steps."""

    def __init__(self, steps: int, conv1: nn.Module, conv2: nn.Module, pool: nn.Module, fc: nn.Module) -> None:
        super().__init__()
        self.steps, self.conv1, self.conv2, self.pool, self.fc = steps, conv1, conv2, pool, fc
        self.fire1, self.fire2, self.norm = Fire(), Fire(), nn.BatchNorm2d(conv2.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        timed = (self.steps, len(x))
        spikes = self.fire1(self.conv1(x.repeat(self.steps, 1, 1, 1)).unflatten(0, timed))
        currents = self.norm(self.conv2(self.pool(spikes.flatten(0, 1))))
        return self.fc(self.pool(self.fire2(currents.unflatten(0, timed)).flatten(0, 1)).flatten(1))


def drawn(seed: int, pool: str = "max", groups: bool = True) -> tuple[Net, list[Tensor]]:
    """Return a network of random geometry, half of its weights zero, and two batches, the last one smaller."""
    pick, _ = random.Random(seed), torch.manual_seed(seed)
    channels = pick.choice((1, 3))
    width, parts = 2 * pick.randint(1, 4), pick.choice((1, 2)) if groups else 1

    def conv(fan_in: int, out: int, kernels: Any, strides: Any, dilations: Any, parts: int = 1) -> nn.Conv2d:
        shape = [pick.choice(c) for c in (kernels, strides, ((0, 0), (1, 1), (2, 1)), dilations)]
        return nn.Conv2d(fan_in, out, *shape, parts, bias=pick.random() < 0.5)

    first = conv(channels, width, ((3, 3), (1, 1), (5, 3)), (1,), (1, 2))
    second = conv(width, 2 * width, ((3, 3), (1, 1), (3, 2)), (1, 2, (2, 1)), (1,), parts)
    pooling = {"max": nn.MaxPool2d(2), "avg": nn.AvgPool2d(2)}[pool]
    x = [torch.randn(n, channels, 28, 28, dtype=torch.float64) for n in (5, 2)]
    flat = pooling(second(pooling(first(x[0].float())))).flatten(1).shape[1]
    net = Net(pick.randint(1, 5), first, second, pooling, nn.Linear(flat, 10)).double().eval()
    for value in net.parameters():
        value.data.normal_(0, 0.5)
        if value.dim() > 1:
            value.data[torch.rand_like(value) < 0.5] = 0
            value.data.view(-1)[0] = 0.3  # SpikingJelly takes weights of 0 and 1 for spikes
    net.norm.running_mean.normal_()
    return net, x


def record(net: nn.Module, *batches: Tensor, steps: int | None = None) -> Ledger:
    recorder = Recorder(net.eval(), steps or getattr(net, "steps", 1))
    with torch.no_grad(), recorder:
        for batch in batches:
            net(batch)
    return recorder.ledger()


def fixture(pool: type[nn.Module] = nn.MaxPool2d) -> tuple[Net, Tensor]:
    torch.manual_seed(0)
    convs = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.Conv2d(16, 32, 3, padding=1)
    net = Net(4, *convs, pool(2), nn.Linear(512, 10)).double().eval()
    for value in (net.conv1.weight, net.conv2.weight, net.fc.weight):
        value.data.normal_(0, 0.4)
    net.conv2.weight.data[torch.rand_like(net.conv2.weight) < 0.5] = 0
    return net, torch.randn(8, 3, 16, 16, dtype=torch.float64)


# --- other tools -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["max", "avg"])
@pytest.mark.parametrize("seed", FRESH)
def test_effective_equals_neurobench(seed: int, pool: str) -> None:
    workload, models = oracle("neurobench.metrics.workload"), oracle("neurobench.models")
    net, batches = drawn(seed, pool)
    ledger = record(net, *batches)
    ours = count("effective", ledger, first_layer="per_step")
    theirs, wrapped = workload.SynapticOperations(), models.TorchModel(net)
    wrapped.register_hooks()
    found: dict[str, float] = {}
    for batch in batches:
        with torch.no_grad():
            found = theirs(wrapped, wrapped(batch), (batch, None))
        wrapped.reset_hooks()
    wrapped.cleanup_hooks()
    if pool == "max":
        assert ours["ac"] == found["Effective_ACs"]
        assert sum(x.effective for x in ledger.layers if x.kind != "binary") == theirs.MAC
    assert ours["total"] == (theirs.AC + theirs.MAC) / 7
    assert count("dense", ledger, first_layer="per_step")["total"] == found["Dense"]


@pytest.mark.parametrize("seed", FRESH)
def test_fanout_equals_spikingjelly(seed: int) -> None:
    op_counter = oracle("spikingjelly.activation_based.op_counter")
    net, batches = drawn(seed)
    ours = count("fanout", record(net, *batches))
    theirs = op_counter.SynOpCounter()
    with torch.no_grad(), op_counter.DispatchCounterMode([theirs]):
        for batch in batches:
            net(batch)
    assert ours["ac"] == theirs.get_total() / 7


def test_the_fixture_of_four_tools() -> None:
    net, x = fixture()
    ledger = record(net, x)
    assert count("dense", ledger, first_layer="per_step")["total"] == 1_417_984
    for name in ("effective", "fanout"):
        assert count(name, ledger, first_layer="per_step")["first"] == 406_272
        assert count(name, ledger)["first"] == 406_272 / 4
    assert count("nominal", ledger, first_layer="per_step")["first"] == 442_368
    ac = {name: count(name, ledger)["ac"] for name in OPERATIONS}
    assert 0 < ac["effective"] < ac["fanout"] < ac["nominal"]
    pooled = record(*(fixture(nn.AvgPool2d)))
    assert count("nominal", pooled, first_layer="per_step")["total"] == 1_642_496
    assert count("effective", pooled)["ac"] == 0 < count("effective", pooled)["mac"]
    assert count("event", pooled)["mac"] == 0 < count("event", pooled)["ac"]


@pytest.mark.parametrize("seed", FRESH)
def test_invariants(seed: int) -> None:
    for pool in ("max", "avg"):
        net, batches = drawn(seed, pool)
        ledger = record(net, *batches)
        found = {name: count(name, ledger) for name in OPERATIONS}
        for column in ("ac", "mac", "first", "total"):
            assert 0 <= found["effective"][column] <= found["fanout"][column] <= found["dense"][column]
        for figures in found.values():
            assert figures["total"] == pytest.approx(figures["ac"] + figures["mac"] + figures["first"], rel=1e-12)
        for name in ENTRIES:
            again = count(name, Ledger.from_record(ledger.as_record()))
            assert again == count(name, ledger)
        net.conv2.weight.data.fill_(1)
        net.fc.weight.data.fill_(1)
        full = record(net, *batches)
        assert count("effective", full)["ac"] == count("fanout", full)["ac"]


# --- definitions -----------------------------------------------------------------------------------------------------


def layer(name: str = "fc", **facts: Any) -> Layer:
    usual: dict[str, Any] = {
        "op": "linear", "weight": (5, 8), "input": (8,), "output": (5,), "samples": 10, "nonzero": 20, "neurons": 5,
        "events": 96, "dense": 1600, "fanout": 480, "effective": 240, "event": 480.0, "kind": "binary",
        "source": ("before",), "steps": 4, "calls": 4,
    }  # fmt: skip
    return Layer(name=name, **{**usual, **facts})


def ledger(*layers: Layer, **facts: Any) -> Ledger:
    return Ledger(**{"steps": 4, "samples": 10, "layers": layers, **facts})


ANALOG = {"kind": "analog", "source": (INPUT,), "repeated": True}


def test_each_kind_of_input_has_its_column() -> None:
    made = ledger(layer(), layer(kind="graded"), layer(kind="analog"), layer(**ANALOG, calls=1))
    told = count("effective", made)
    assert told == {"ac": 24.0, "mac": 48.0, "first": 24.0, "total": 96.0, "uncounted": 0}
    assert count("event", made) == {"ac": 96.0, "mac": 48.0, "first": 48.0, "total": 192.0, "uncounted": 0}


def test_nominal_is_dense_times_the_firing_rate_of_spikes() -> None:
    assert count("nominal", ledger(layer()))["ac"] == pytest.approx(4 * 40 * 96 / (10 * 4 * 8))
    assert count("nominal", ledger(layer(kind="graded")))["mac"] == 160
    assert count("nominal", ledger(layer(events=0)))["ac"] == 0


def test_nominal_counts_padding_and_fanout_does_not() -> None:
    for side in (2, 8, 16):
        conv = nn.Conv2d(1, 2, 3, padding=1)
        net = nn.Sequential(nn.Conv2d(1, 1, 1), Ones(), conv)
        made = record(net, torch.rand(2, 1, side, side))
        ratio = count("fanout", made)["ac"] / count("nominal", made)["ac"]
        assert ratio == pytest.approx(((3 * side - 2) / (3 * side)) ** 2, rel=1e-12)
    assert 1 - ratio == pytest.approx(0.08, abs=0.002)


class Ones(nn.Module):
    spiking = True

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones_like(x)


@pytest.mark.parametrize(("calls", "once", "per_step"), [(1, 24.0, 96.0), (4, 6.0, 24.0), (8, 6.0, 24.0)])
def test_the_first_layer_once_or_at_each_step(calls: int, once: float, per_step: float) -> None:
    made = ledger(layer(**ANALOG, calls=calls))
    assert count("effective", made)["first"] == once
    assert count("effective", made, first_layer="per_step")["first"] == per_step
    still = ledger(layer(**{**ANALOG, "repeated": False}, calls=calls))
    assert count("effective", still) == count("effective", still, first_layer="per_step")


def test_energy_is_the_arithmetic_alone() -> None:
    made = ledger(layer(), layer(kind="graded"), layer(**ANALOG, calls=1))
    for precision, (mac, ac) in {"fp32": (4.6, 0.9), "fp16": (1.5, 0.4), "int8": (0.23, 0.03)}.items():
        told = count("energy", made, precision=precision)
        assert told["ac"] == pytest.approx(24 * ac)
        assert told["mac"] == told["first"] == pytest.approx(24 * mac)
        assert told["total"] == pytest.approx(24 * (2 * mac + ac))
    assert count("energy", made, count="fanout")["ac"] == pytest.approx(48 * 0.9)
    assert count("energy", made, first_layer="per_step")["first"] == pytest.approx(96 * 4.6)
    assert "arithmetic only" in ENTRIES["energy"].unit


def test_a_gap_stays_a_gap() -> None:
    made = ledger(layer(), layer(kind="graded", event=None))
    assert count("event", made)["ac"] is None
    assert count("event", made)["total"] is None
    assert count("effective", made)["total"] == 48


def test_what_nobody_counted_is_never_nothing() -> None:
    told = ({"module": "attention", "op": "bmm", "calls": 2}, {"module": "attention", "op": "mm", "calls": 1})
    for name in ENTRIES:
        assert count(name, ledger(layer(), uncounted=told))["uncounted"] == 3
        assert count(name, ledger(uncounted=told))["total"] is None
    assert count("effective", ledger(layer()))["uncounted"] == 0


def test_unit_spikes_of_either_sign_are_accumulates() -> None:
    made = ledger(layer(negative=True))
    for name in OPERATIONS:
        assert count(name, made)["mac"] == 0 < count(name, made)["ac"]


def test_a_mistaken_parameter_is_told() -> None:
    with pytest.raises(BenchError, match="not one of once, per_step"):
        count("dense", ledger(layer()), first_layer="perstep")
    with pytest.raises(BenchError, match="precision=fp8"):
        ENTRIES["energy"].load()(ledger(layer()), precision="fp8")
    with pytest.raises(BenchError, match="first_layer=never"):
        ENTRIES["dense"].load()(ledger(layer()), first_layer="never")


def test_entries_say_what_they_return() -> None:
    assert set(ENTRIES) == {"dense", "effective", "fanout", "nominal", "event", "energy"}
    for entry in ENTRIES.values():
        assert tuple(count(entry.name, ledger(layer()))) == entry.columns
        assert entry.headline in entry.columns
        assert dataclasses.is_dataclass(entry.params)


# --- known faults of others ------------------------------------------------------------------------------------------


def test_figures_are_per_sample_not_per_forward() -> None:
    net, (x, _) = drawn(3)
    whole, single = record(net, x), record(net, *x.split(1))
    for name in OPERATIONS:
        assert count(name, whole) == count(name, single)
    twice = record(net, x, x)
    assert count("effective", twice) == count("effective", whole)


def test_a_last_partial_batch_does_not_weigh_as_a_full_one() -> None:
    net, (x, y) = drawn(3)
    parts, whole = (
        [count("effective", record(net, b))["ac"] for b in (x, y)],
        count("effective", record(net, x, y))["ac"],
    )
    assert whole == pytest.approx((5 * parts[0] + 2 * parts[1]) / 7, rel=1e-12)
    assert not math.isclose(whole, sum(parts) / 2, rel_tol=1e-6)


class Timed(nn.Module):
    """Neurons that fire at the steps given, whatever comes in."""

    spiking = True

    def __init__(self, fires: list[int]) -> None:
        super().__init__()
        self.fires = fires

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([torch.full_like(x, float(f)) for f in self.fires])


def at_steps(fires: list[int]) -> Ledger:
    net = nn.Sequential(nn.Linear(3, 4), Timed(fires), nn.Flatten(0, 1), nn.Linear(4, 2))
    return record(net, torch.rand(3, 3), steps=len(fires))


def test_every_time_step_counts() -> None:
    assert count("fanout", at_steps([0, 0, 1, 1]))["ac"] == 16
    assert count("fanout", at_steps([1, 0, 0, 0]))["ac"] == 8


def test_steps_are_added_up_not_averaged() -> None:
    for name in (*OPERATIONS, "event", "energy"):
        short, long = count(name, at_steps([1, 0])), count(name, at_steps([1, 0, 1, 0]))
        assert long["ac"] == 2 * short["ac"] > 0


def test_a_two_valued_image_is_not_taken_for_spikes() -> None:
    net, (x, _) = drawn(3)
    told = count("effective", record(net, (x > 0).double()))
    assert told["first"] > 0
    grey = count("effective", record(net, (x > 0).double() * 0.5 + 0.0))
    assert grey["first"] == told["first"]


def test_groups_meet_only_their_own_channels() -> None:
    conv = nn.Conv2d(4, 8, 3, groups=4, bias=False)
    net = nn.Sequential(nn.Conv2d(1, 4, 1), Ones(), conv)
    made = record(net, torch.rand(2, 1, 5, 5))
    assert count("fanout", made)["ac"] == count("dense", made)["ac"] == 8 * 9 * 9
    conv.weight.data[:2] = 0
    assert count("effective", record(net, torch.rand(2, 1, 5, 5)))["ac"] == 6 * 9 * 9
