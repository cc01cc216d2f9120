"""The recorder against a loop over every product, and against what it must not be fooled by."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

from synobench.errors import BenchError
from synobench.ledger import INPUT, Layer, Ledger
from synobench.ledger.recorder import Recorder


class Fire(nn.Module):
    """Leaky integrate-and-fire neurons over [T, N, ...], hard reset."""

    spiking = True

    def __init__(self, beta: float = 0.5) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, currents: Tensor) -> Tensor:
        v, out = torch.zeros_like(currents[0]), []
        for current in currents:
            h = self.beta * v + current
            out.append((h >= 1).to(h.dtype))
            v = h * (1 - out[-1])
        return torch.stack(out)


class Net(nn.Module):
    """conv - fire - pool - conv - norm - fire - pool - linear, all steps at once."""

    def __init__(self, steps: int = 4, pool: str = "avg", once: bool = True, beta: float = 0.5) -> None:
        super().__init__()
        self.steps, self.once = steps, once
        self.conv1, self.fire1 = nn.Conv2d(2, 6, 3, padding=1), Fire(beta)
        self.conv2, self.norm2, self.fire2 = nn.Conv2d(6, 8, 3, bias=False), nn.BatchNorm2d(8), Fire(beta)
        self.fc = nn.Linear(32, 5)
        self.pool = getattr(F, f"{pool}_pool2d") if pool else None

    def forward(self, x: Tensor) -> Tensor:
        t, n = self.steps, len(x)
        image = x if self.once else x.repeat(t, 1, 1, 1)
        current = 3 * self.conv1(image)
        current = current.expand(t, *current.shape) if self.once else current.unflatten(0, (t, n))
        spikes = self.pool(self.fire1(current).flatten(0, 1), 2)
        spikes = self.fire2(self.norm2(3 * self.conv2(spikes)).unflatten(0, (t, n)))
        return self.fc(self.pool(spikes.flatten(0, 1), 2).flatten(1)).unflatten(0, (t, n))


def record(model: nn.Module, *batches: Tensor, steps: int = 1, **options: Any) -> Ledger:
    recorder = Recorder(model.eval(), steps, **options)
    with torch.no_grad(), recorder:
        for batch in batches:
            model(batch)
    return recorder.ledger()


def seeded(model: nn.Module, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    for value in model.parameters():
        value.data.normal_(0, 0.4)
        if value.dim() > 1:
            value.data[torch.rand_like(value) < 0.5] = 0
    return model


def image(n: int, seed: int = 1, shape: tuple[int, ...] = (2, 12, 12)) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def by_name(ledger: Ledger) -> dict[str, Layer]:
    return {x.name: x for x in ledger.layers}


# --- against a loop over every product ---------------------------------------------------------------------------


def brute_force(layer: Any, x: Tensor) -> tuple[int, int, int]:
    """Return dense, fan-out and effective products of one sample, one by one."""
    weight, spatial = layer.weight, x.shape[1:]
    per_group = layer.in_channels // layer.groups
    out_size = layer(x[None]).shape[2:]
    dense = fanout = effective = 0
    for o, *place in itertools.product(range(layer.out_channels), *map(range, out_size)):
        first = o // (layer.out_channels // layer.groups) * per_group
        for i, *tap in itertools.product(range(per_group), *map(range, layer.kernel_size)):
            at = [
                p * s - q + d * k
                for p, s, q, d, k in zip(place, layer.stride, layer.padding, layer.dilation, tap, strict=True)
            ]
            if any(a < 0 or a >= size for a, size in zip(at, spatial, strict=True)):
                continue
            live = bool(x[(first + i, *at)])
            dense, fanout = dense + 1, fanout + live
            effective += live and bool(weight[(o, i, *tap)])
    return dense, fanout, effective


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_convolutions_equal_a_loop_over_every_product(data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    dims, groups = draw(1, 2), draw(1, 3)
    layer = (nn.Conv1d, nn.Conv2d)[dims - 1](
        groups * draw(1, 2), groups * draw(1, 2), tuple(draw(1, 3) for _ in range(dims)),
        stride=tuple(draw(1, 3) for _ in range(dims)), padding=tuple(draw(0, 2) for _ in range(dims)),
        dilation=tuple(draw(1, 2) for _ in range(dims)), groups=groups,
    )  # fmt: skip
    size = tuple(draw(5, 7) for _ in range(dims))
    torch.manual_seed(draw(0, 2**31))
    layer.weight.data[torch.rand_like(layer.weight) < 0.4] = 0
    x = torch.randn(2, layer.in_channels, *size)
    x[torch.rand_like(x) < 0.5] = 0
    (facts,) = record(layer, x).layers
    told = [brute_force(layer, sample) for sample in x]
    assert (facts.dense, facts.fanout, facts.effective) == tuple(map(sum, zip(*told, strict=True)))


def test_three_dimensions_equal_the_convolution_of_ones() -> None:
    layer = seeded(nn.Conv3d(2, 4, (2, 3, 1), stride=(1, 2, 1), padding=(1, 0, 1), groups=2, bias=False))
    x = image(3, shape=(2, 4, 5, 3)).relu()
    (facts,) = record(layer, x).layers
    assert facts.op == "conv3d"
    alive = nn.utils.skip_init(nn.Conv3d, 2, 4, (2, 3, 1), stride=(1, 2, 1), padding=(1, 0, 1), groups=2, bias=False)
    alive.weight.data = (layer.weight != 0).float()
    assert facts.effective == int(alive((x != 0).float()).sum())
    alive.weight.data.fill_(1)
    assert facts.fanout == int(alive((x != 0).float()).sum())
    assert facts.dense == int(alive(torch.ones_like(x)).sum())


@pytest.mark.parametrize("mode", ["circular", "replicate", "reflect"])
def test_values_repeated_at_the_border_count(mode: str) -> None:
    layer = nn.Conv2d(2, 3, 3, padding=1, padding_mode=mode, bias=False)
    x = image(2).relu()
    (facts,) = record(layer, x).layers
    assert facts.dense == 2 * 3 * 12 * 12 * 2 * 9
    layer.weight.data.fill_(1)
    assert facts.fanout == int(layer((x != 0).float()).sum())


def test_padding_by_name() -> None:
    (named,) = record(nn.Conv2d(2, 3, 3, dilation=2, padding="same"), image(2)).layers
    assert named.padding == "same"
    assert named.dense == 2 * 3 * int(
        F.conv2d(torch.ones(1, 2, 12, 12), torch.ones(1, 2, 3, 3), padding=2, dilation=2).sum()
    )


def test_linear_layers_and_their_positions() -> None:
    layer = seeded(nn.Linear(7, 5))
    x = image(3, shape=(4, 7)).relu()
    (facts,) = record(layer, x).layers
    assert facts.input == (4, 7)
    assert facts.dense == 3 * 4 * 35
    assert facts.fanout == int((x != 0).sum()) * 5
    assert facts.effective == int(((x != 0).double() @ (layer.weight != 0).double().T).sum())


@pytest.mark.parametrize("side", [1, 2, 3, 5, 16])
def test_exact_to_nominal_of_3x3_with_padding(side: int) -> None:
    (facts,) = record(nn.Conv2d(2, 4, 3, padding=1), torch.ones(1, 2, side, side)).layers
    assert facts.dense * (3 * side) ** 2 == facts.nominal_dense * (3 * side - 2) ** 2


def test_zero_bias_and_negative_zero_do_not_count() -> None:
    (facts,) = record(nn.Linear(4, 3), torch.tensor([[0.0, -0.0, 1e-40, -2.0]])).layers
    assert facts.events == 2
    assert facts.negative


def test_how_the_input_lies_in_memory_changes_nothing() -> None:
    layer, x = seeded(nn.Linear(6, 3)), image(5, shape=(6,)).relu()
    lies = (x, x.t().contiguous().t(), torch.stack([x, x], -1)[..., 0])
    assert len({record(layer, y).digest for y in lies}) == 1
    (wide,) = record(layer, x[:1].expand(5, 6)).layers
    assert wide.fanout == 5 * 3 * int((x[0] != 0).sum())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precision_is_told_and_changes_no_count(dtype: torch.dtype) -> None:
    layer, x = seeded(nn.Linear(6, 3)), image(3000, shape=(6,))
    x[x.abs() < 0.3] = 0
    (exact,), (other,) = record(layer, x).layers, record(layer.to(dtype), x.to(dtype)).layers
    bits = torch.finfo(dtype).bits
    assert (other.weight_bits, other.activation_bits) == (bits, bits)
    assert (other.events, other.fanout, other.effective) == (exact.events, exact.fanout, exact.effective)
    assert other.events > 2**12
    assert other.negative


# --- kinds of input ----------------------------------------------------------------------------------------------


def through(values: Tensor, spiking: bool = True) -> Layer:
    """Return the facts of a layer that reads `values` from a module that says whether it spikes."""

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spiking = spiking

        def forward(self, x: Tensor) -> Tensor:
            return values + 0 * x

    net = nn.Sequential(nn.Linear(4, 4), Constant(), nn.Linear(4, 3))
    return record(net, torch.ones(len(values), 4)).layers[1]


@pytest.mark.parametrize(
    ("values", "spiking", "kind", "negative"),
    [
        ([0.0, 1.0, 1.0, 0.0], True, "binary", False),
        ([0.0, 1.0, -1.0, 0.0], True, "binary", True),
        ([0.0, 2.0, 1.0, 0.0], True, "graded", False),
        ([0.0, 0.25, 1.0, 0.0], True, "graded", False),
        ([0.0, 1.0, 1.0 - 2**-24, 0.0], True, "graded", False),
        ([0.0, 1.0, 1e-42, 0.0], True, "graded", False),
        ([0.0, 0.5, -2.0, 1.0], False, "analog", True),
    ],
)
def test_kinds_of_input(values: list[float], spiking: bool, kind: str, negative: bool) -> None:
    facts = through(torch.tensor([values, [0.0] * 4]), spiking)
    assert (facts.kind, facts.negative) == (kind, negative)
    assert facts.events == sum(v != 0 for v in values)
    assert facts.event == pytest.approx(3 * sum(map(abs, values)), rel=1e-6)


def test_one_graded_value_in_a_later_batch_makes_the_layer_graded() -> None:
    net = nn.Sequential(nn.Identity(), nn.Linear(4, 3))
    ones = torch.ones(2, 4)
    facts = record(net, ones, 2 * ones, ones, spikes=True).layers[0]
    assert facts.kind == "graded"
    assert (facts.events, facts.event) == (24, 3 * 32.0)


def test_a_two_valued_image_is_no_spikes() -> None:
    picture = (image(3) > 0).float()
    facts = by_name(record(Net(), picture, steps=4))
    assert facts["conv1"].kind == "analog"
    assert facts["conv1"].first
    spikes = record(nn.Sequential(nn.Conv2d(2, 3, 3)), picture, spikes=True).layers[0]
    assert (spikes.kind, spikes.source, spikes.first) == ("binary", (INPUT,), False)


# --- time ----------------------------------------------------------------------------------------------------------


def test_steps_counted_one_by_one_and_all_at_once_agree() -> None:
    class ByStep(Net):
        def forward(self, x: Tensor) -> Tensor:
            v1 = v2 = 0.0
            out = []
            for _ in range(self.steps):
                h = 0.5 * v1 + 3 * self.conv1(x)
                s = self.fire1(h[None])[0]
                v1 = h * (1 - s)
                h = 0.5 * v2 + self.norm2(3 * self.conv2(self.pool(s, 2)))
                s = self.fire2(h[None])[0]
                v2 = h * (1 - s)
                out.append(self.fc(self.pool(s, 2).flatten(1)))
            return torch.stack(out)

    nets = [seeded(Net(once=False)), seeded(ByStep())]
    whole, single = (record(net, image(5), image(2, 7), steps=4) for net in nets)
    assert whole.vectors == single.vectors
    for one, other in zip(whole.layers, single.layers, strict=True):
        assert (one.effective, one.fanout, one.dense, one.kind) == (
            other.effective,
            other.fanout,
            other.dense,
            other.kind,
        )
        assert (one.calls, one.repeated, one.events_before) == (other.calls, other.repeated, other.events_before)


def test_a_layer_computed_once_says_so() -> None:
    once, each = (by_name(record(seeded(Net(once=o)), image(5), steps=4)) for o in (True, False))
    assert (once["conv1"].calls, once["conv1"].once, once["conv1"].repeated) == (1, True, True)
    assert (each["conv1"].calls, each["conv1"].once, each["conv1"].repeated) == (4, False, True)
    assert each["conv1"].effective == 4 * once["conv1"].effective
    assert once["conv2"] == each["conv2"]
    assert not once["conv2"].repeated


def test_an_input_that_changes_over_the_steps_is_not_repeated() -> None:
    class Moving(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.conv1(torch.cat([x * t for t in (1, 1, 1, 2)]))

    (facts,) = record(Moving(once=False), image(3), steps=4).layers
    assert (facts.calls, facts.repeated) == (4, False)


def test_a_head_on_the_mean_over_time_is_no_repeated_input() -> None:
    class Rate(Net):
        def forward(self, x: Tensor) -> Tensor:
            spikes = self.fire1((3 * self.conv1(x)).expand(4, -1, -1, -1, -1))
            return self.conv2(spikes.mean(0))

    facts = by_name(record(seeded(Rate()), image(3), steps=4))["conv2"]
    assert (facts.calls, facts.once, facts.repeated, facts.kind) == (1, True, False, "graded")


def test_later_steps_count_as_the_first_does() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fire, self.fc = Fire(), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            ramp = torch.tensor([0.0, 0.0, 2.0]).view(3, 1, 1)
            return self.fc(self.fire(ramp * x[None]).flatten(0, 1))

    ledger = record(Late(), torch.ones(2, 4), steps=3)
    assert ledger.vectors is not None
    assert ledger.vectors["fc"]["steps"] == [0, 0, 8]
    assert ledger.layers[0].fanout == 24


def test_a_layer_used_twice_a_step_adds_up_within_the_step() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            for step in range(3):
                self.fc(x * float(step > 0))
                self.fc(x)
            return x

    ledger = record(Twice(), torch.ones(2, 4), steps=3)
    assert ledger.vectors is not None
    assert ledger.vectors["fc"]["steps"] == [8, 16, 16]
    assert (ledger.layers[0].calls, ledger.layers[0].dense) == (6, 6 * 2 * 16)


def test_twice_the_steps_is_twice_the_operations() -> None:
    # without memory each step repeats the one before
    short, long = (by_name(record(seeded(Net(steps=t, beta=0.0)), image(4), steps=t)) for t in (3, 6))
    for name in ("conv2", "fc"):
        for total in ("dense", "fanout", "effective", "event", "events"):
            assert getattr(long[name], total) == 2 * getattr(short[name], total) > 0


def test_linear_layers_take_time_and_samples_apart() -> None:
    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fire, self.fc = Fire(), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.fire((2 * x).expand(4, *x.shape)))

    ledger = record(Apart(), image(5, shape=(6,)), steps=4)
    (facts,) = ledger.layers
    assert (facts.input, facts.calls, facts.dense) == ((6,), 4, 4 * 5 * 18)
    assert ledger.vectors is not None
    assert len(ledger.vectors["fc"]["steps"]) == 4


# --- samples -------------------------------------------------------------------------------------------------------


def test_a_last_batch_of_one_sample_and_one_channel() -> None:
    net = nn.Sequential(nn.Conv2d(2, 1, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(1, 2, 3))
    ledger = record(net, image(3), image(1, 2))
    sent = [int((net[:2](x) > 0).sum()) for x in (image(3), image(1, 2))]
    assert ledger.layers[1].events_before == sum(sent)
    assert ledger.vectors is not None
    assert ledger.vectors["3"]["before"] == [sum(sent)]


def test_how_samples_are_batched_changes_nothing() -> None:
    x = image(7)
    ledgers = [record(seeded(Net()), *x.split(size), steps=4) for size in (7, 5, 3, 1)]
    assert len({ledger.digest for ledger in ledgers}) == 1
    for ledger in ledgers[1:]:
        assert ledger.samples == 7
        for one, other in zip(ledger.layers, ledgers[0].layers, strict=True):
            assert one.event == pytest.approx(other.event, rel=1e-6)
            assert dataclasses.replace(one, event=other.event) == other


def test_a_recorder_goes_on_where_it_stopped() -> None:
    net = seeded(Net()).eval()
    recorder = Recorder(net, 4)
    for part in image(7).split(4):
        with torch.no_grad(), recorder:
            net(part)
        net(image(3))  # not recorded
    assert recorder.ledger() == record(net, *image(7).split(4), steps=4)


# --- sources, pooling, neurons ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["avg", "max"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_lies_between_neurons_and_layer(pool: str, mode: Any) -> None:
    net = seeded(Net(pool=pool)).eval()
    spikes = []
    handle = net.fire1.register_forward_hook(lambda *told: spikes.append(told[2]))
    recorder = Recorder(net, 4)
    with mode(), recorder:
        net(image(3))
        net(image(2, 5))
    ledger = recorder.ledger()
    handle.remove()
    facts = by_name(ledger)["conv2"]
    sent = sum(int(s.sum()) for s in spikes)
    assert (facts.source, facts.neuron, facts.pooling) == (("conv1",), "fire1", pool)
    assert facts.kind == {"avg": "graded", "max": "binary"}[pool]
    assert facts.area == {"avg": 4, "max": 1}[pool]
    assert facts.events_before == by_name(ledger)["conv1"].output_events == sent > facts.events > 0
    assert ledger.vectors is not None
    assert ledger.vectors["conv2"]["before"] == [sum(int(s[:, :, c].sum()) for s in spikes) for c in range(6)]
    assert by_name(ledger)["fc"].source == ("conv2",)
    assert by_name(ledger)["fc"].output_events is None
    if pool == "avg":
        one = torch.autograd.functional.jacobian(
            lambda x: F.conv2d(x, torch.ones(8, 6, 3, 3)).sum(), torch.zeros(1, 6, 6, 6)
        )
        pooled = sum(F.avg_pool2d(s.flatten(0, 1), 2).sum(0) for s in spikes)
        assert facts.event == float((4 * pooled * one[0]).sum())


@pytest.mark.parametrize(
    ("pool", "kind", "area"),
    [
        (nn.AvgPool2d(2), "avg", 4),
        (nn.AvgPool2d((3, 2)), "avg", 6),
        (nn.MaxPool2d(3), "max", 1),
        (nn.AdaptiveAvgPool2d(3), "avg", 16),
        (nn.Sequential(nn.AvgPool2d(2), nn.AvgPool2d(2)), "avg", 16),
        (nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(2)), "mixed", 4),
        (nn.AdaptiveAvgPool2d(12), None, 1),
        (nn.AdaptiveAvgPool2d(5), "avg", None),
    ],
)
def test_pooling_layers(pool: nn.Module, kind: str | None, area: int | None) -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), pool, nn.Conv2d(3, 2, 1))
    ledger = record(net, image(2))
    facts = ledger.layers[1]
    assert (facts.pooling, facts.area, facts.source) == (kind, area, ("0",))
    assert (facts.event is None) == (area is None)
    assert facts.events_before == ledger.layers[0].output_events == int((net[1](net[0](image(2))) != 0).sum())


class Shortcut(Fire):
    """Neurons that can pool what they send out."""

    def forward_pooled(self, currents: Tensor, pool: int) -> Tensor:
        return F.avg_pool2d(self.forward(currents).flatten(0, 1), pool).unflatten(0, currents.shape[:2])


@pytest.mark.parametrize("side", [2, 3])
def test_pooling_inside_the_neurons_counts_as_behind_them(side: int) -> None:
    class Fused(nn.Module):
        def __init__(self, fuse: bool) -> None:
            super().__init__()
            self.conv1, self.fire1, self.conv2, self.fuse = (
                nn.Conv2d(2, 6, 3, padding=1),
                Shortcut(),
                nn.Conv2d(6, 3, 3),
                fuse,
            )

        def forward(self, x: Tensor) -> Tensor:
            current = (3 * self.conv1(x)).expand(4, -1, -1, -1, -1)
            if self.fuse and not self.fire1._forward_hooks:
                return self.conv2(self.fire1.forward_pooled(current, side).flatten(0, 1))
            return self.conv2(F.avg_pool2d(self.fire1(current).flatten(0, 1), side))

    fused, plain = (record(seeded(Fused(fuse)), *image(7).split(4), steps=4) for fuse in (True, False))
    assert fused.layers == plain.layers
    assert fused.vectors == plain.vectors
    assert fused.beside == plain.beside
    assert (fused.layers[0].output_events or 0) > fused.layers[1].events


def test_channels_last_changes_nothing() -> None:
    plain = record(seeded(Net()), image(5), steps=4)
    moved = record(
        seeded(Net()).to(memory_format=torch.channels_last),
        image(5).contiguous(memory_format=torch.channels_last),
        steps=4,
    )
    assert plain.vectors == moved.vectors


def test_residual_networks_name_all_sources() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.conv, self.head = (nn.Conv2d(c, 4, 3, padding=1) for c in (2, 4, 4))
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            x = self.relu(self.stem(x))
            return self.head(self.relu(x + self.conv(x)))

    net = Block()
    facts = by_name(record(net, image(3), image(2, 4)))
    assert facts["conv"].source == ("stem",)
    assert facts["head"].source == ("conv", "stem")
    assert facts["stem"].output_events == facts["conv"].events
    assert facts["conv"].output_events == facts["head"].events


def test_buffers_written_in_place_keep_their_source() -> None:
    class Buffered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.relu, self.second = nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            out = torch.empty(len(x), 6)
            out[:, :3] = self.relu(self.first(x))
            out[:, 3:] = 1.0
            return self.second(out)

    facts = by_name(record(Buffered(), torch.randn(3, 4)))
    assert facts["second"].source == ("first",)


def test_what_a_layer_reads_in_part_was_sent_as_a_whole() -> None:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.relu, self.second = nn.Linear(4, 6), nn.ReLU(), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.relu(self.first(x))[:, :3])

    net, x = Part(), torch.randn(5, 4)
    facts = by_name(record(net, x, x))
    sent = net.first(x) > 0
    assert facts["first"].output_events == 2 * int(sent.sum()) > facts["second"].events
    assert facts["second"].events == 2 * int(sent[:, :3].sum())


def test_a_source_that_cannot_be_followed_is_a_gap() -> None:
    class Detour(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(torch.tensor(x.tolist()))

    (facts,) = record(Detour(), torch.randn(3, 4)).layers
    assert (facts.source, facts.neuron, facts.events_before, facts.kind) == (None, None, None, "analog")


def test_vectors_count_a_flattened_map_by_its_channels() -> None:
    net = seeded(Net())
    ledger = record(net, image(5), steps=4)
    assert ledger.vectors is not None
    for facts in ledger.layers:
        vectors = ledger.vectors[facts.name]
        channels = {"conv1": 2, "conv2": 6, "fc": 8}[facts.name]
        assert {k: sum(vectors[k]) for k in ("events", "fanout", "effective")} == {
            "events": facts.events, "fanout": facts.fanout, "effective": facts.effective,
        }  # fmt: skip
        assert len(vectors["events"]) == len(vectors["weights"]["input"]) == channels
        assert len(vectors["weights"]["output"]) == facts.weight[0]
        assert sum(vectors["weights"]["input"]) == sum(vectors["weights"]["output"]) == facts.nonzero
        assert sum(vectors["steps"]) == facts.events
    fc = (net.fc.weight != 0).sum(0).view(8, 4).sum(1).tolist()
    assert ledger.vectors["fc"]["weights"]["input"] == fc


def test_weights_of_groups_count_at_their_own_input_channels() -> None:
    layer = nn.Conv2d(4, 6, 1, groups=2, bias=False)
    layer.weight.data = torch.zeros(6, 2, 1, 1)
    layer.weight.data[5, 1] = layer.weight.data[0, 0] = 1
    ledger = record(layer, torch.ones(1, 4, 2, 2))
    assert ledger.vectors is not None
    assert ledger.vectors["Conv2d"]["weights"] == {"output": [1, 0, 0, 0, 0, 1], "input": [1, 0, 0, 1]}


def test_what_stands_beside_the_synapses() -> None:
    net = seeded(Net())
    ledger = record(net, image(3), image(2), steps=4)
    assert ledger.beside == {
        "bias": 5 * (6 * 144 + 4 * 5),  # conv1 is computed once, conv2 has no bias
        "normalisation": 5 * 4 * 8 * 16,
        "neuron": 5 * 4 * (6 * 144 + 8 * 16),
    }


# --- what nobody counts ----------------------------------------------------------------------------------------------


class Odd(nn.Module):
    def __init__(self, work: Any, **modules: nn.Module) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.extra = nn.Parameter(torch.randn(4, 4))
        self.work = work
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Any:
        return self.work(self, self.fc(x))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(
    ("work", "module", "op"),
    [
        (lambda m, x: x @ m.extra, "Odd", "mm|matmul"),
        (lambda m, x: F.linear(x, m.extra), "Odd", "mm|linear"),
        (lambda _, x: torch.einsum("ni,nj->nij", x, x), "Odd", "bmm|einsum|mul"),
        (lambda _, x: x[:, None] @ x[:, :, None], "Odd", "bmm|matmul"),
        (lambda _, x: x * torch.sigmoid(x), "Odd", "mul"),
        (lambda m, x: x * m.extra[0:1].expand_as(x) @ m.extra, "Odd", "mm|matmul"),
        (lambda m, x: x.mul(m.extra[0, 0]) * m.extra.data.new_ones(4) + x * m.scale.weight, "Odd", "mul"),
        (lambda _, x: F.scaled_dot_product_attention(x[None], x[None], x[None]), "Odd", "bmm|attention"),
        (lambda m, x: m.turn(x[:, :, None]), "turn", "conv"),
        (lambda m, x: m.cell(x), "cell", "mm|rnn|gru"),
        (lambda m, x: m.lstm(x[:, None])[0], "lstm", "rnn|lstm|mm"),
        (lambda m, x: m.look(x[:, None], x[:, None], x[:, None]), "look", "bmm|attention|mm|linear"),
        (lambda m, x: m.pair(x, x), "pair", "linear"),
        (lambda m, x: F.conv1d(x[:, :, None], m.extra[:, :, None]), "Odd", "conv"),
    ],
)
def test_other_products_are_listed(work: Any, module: str, op: str, mode: Any) -> None:
    net = Odd(
        work, turn=nn.ConvTranspose1d(4, 2, 3), cell=nn.GRUCell(4, 3), lstm=nn.LSTM(4, 3), pair=nn.Bilinear(4, 4, 2),
        look=nn.MultiheadAttention(4, 2, batch_first=True), scale=nn.LayerNorm(4),
    ).eval()  # fmt: skip
    recorder = Recorder(net)
    with mode(), recorder:
        net(torch.randn(3, 4))
    ledger = recorder.ledger()
    assert [x.name for x in ledger.layers] == ["fc"]
    assert any(u["module"] == module and re.search(op, u["op"]) and u["calls"] > 0 for u in ledger.uncounted)


def test_an_unknown_operation_is_listed_by_name() -> None:
    library = torch.library.Library("synobench_test", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: x + x, "CPU")
    ledger = record(Odd(lambda _, x: torch.ops.synobench_test.twice(x)), torch.randn(3, 4))
    assert ledger.uncounted == ({"module": "Odd", "op": "synobench_test::twice", "calls": 1},)


def test_a_layer_that_computes_more_than_itself_is_listed() -> None:
    class LowRank(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.down, self.up = nn.Parameter(torch.randn(1, 4)), nn.Parameter(torch.randn(3, 1))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight) + F.linear(F.linear(x, self.down), self.up)

    ledger = record(nn.Sequential(LowRank()), torch.randn(3, 4))
    assert sum(u["calls"] for u in ledger.uncounted) == 2
    assert ledger.uncounted[0]["module"] == "0"


def test_ordinary_networks_leave_nothing_uncounted() -> None:
    assert record(seeded(Net()), image(3), steps=4).uncounted == ()
    normal = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.GELU(), nn.Flatten(), nn.LayerNorm(400), nn.Linear(400, 2)
    )
    assert record(normal, image(3)).uncounted == ()
    pruned = nn.Sequential(nn.Linear(4, 3))
    prune.random_unstructured(pruned[0], "weight", 0.5)
    facts = record(pruned, torch.ones(2, 4))
    assert facts.uncounted == ()
    assert facts.layers[0].nonzero == 6
    assert facts.layers[0].effective == 12


def test_uncounted_operations_are_told_aloud(caplog: pytest.LogCaptureFixture) -> None:
    record(Odd(lambda m, x: x @ m.extra), torch.randn(3, 4))
    assert "uncounted: mm in Odd" in caplog.text


# --- manners ---------------------------------------------------------------------------------------------------------


def test_recording_leaves_the_network_as_it_was() -> None:
    net = seeded(Net()).eval()
    before = {name: set(vars(m)) for name, m in net.named_modules()}
    with torch.no_grad():
        plain = net(image(3))
        with Recorder(net, 4):
            assert torch.equal(net(image(3)), plain)
            assert torch.equal(net(image(3)), plain)
    assert {name: set(vars(m)) for name, m in net.named_modules()} == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_pass_that_breaks_off_leaves_no_trace() -> None:
    class Fragile(Net):
        broken = False

        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            if self.broken:
                raise RuntimeError("broken off")
            return out

    net = seeded(Fragile()).eval()
    for early in (True, False):
        recorder = Recorder(net, 4)
        with torch.no_grad(), recorder:
            if not early:
                net(image(3))
            net.broken = True
            with pytest.raises(RuntimeError, match="broken off"):
                net(image(4))
            net.broken = False
            if early:
                net(image(3))
            net(image(2))
        assert recorder.ledger() == record(net, image(3), image(2), steps=4)


def test_errors_say_what_is_wrong() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3))
    with pytest.raises(BenchError, match="nothing was recorded"):
        Recorder(net).ledger()
    with pytest.raises(BenchError, match="one ledger, one shape"):
        record(net, image(2), image(2, shape=(2, 9, 9)))
    with pytest.raises(BenchError, match="0 is not finite"):
        record(net, image(2) / 0)
    with pytest.raises(BenchError, match="0 is not finite"):
        record(net, image(2) * math.nan)
    with pytest.raises(BenchError, match="without a batch"):
        record(net, image(0))


def test_totals_are_ordered() -> None:
    for seed in range(5):
        for pool in ("avg", "max"):
            for facts in record(seeded(Net(pool=pool), seed), image(4, seed), steps=4).layers:
                assert 0 <= facts.effective <= facts.fanout <= facts.dense <= facts.nominal_dense
                assert facts.events <= facts.samples * facts.calls * math.prod(facts.input)
                assert facts.events <= (facts.events_before or 0)
