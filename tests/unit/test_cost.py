"""The meter: what is counted, to which phase, and what survives a resume."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from synobench import cost
from synobench.cost import PHASES, Meter

MIB = 2**20


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def counts(meter: Meter, phase: str = "train") -> tuple[int, int, int]:
    found = meter.as_dict()[phase]
    return found["samples"], found["forward"], found["backward"]


def test_passes_and_samples_are_counted_by_phase() -> None:
    meter, model = Meter(), net()
    with meter.watch(model):
        with meter.phase("train"):
            for _ in range(3):
                model(torch.randn(4, 6)).sum().backward()
        with meter.phase("judge"), torch.no_grad():
            model(torch.randn(7, 6))
        model(torch.randn(9, 6)).sum().backward()
    with meter.phase("tune"):
        model(torch.randn(9, 6))
    assert counts(meter) == (12, 3, 3)
    assert counts(meter, "judge") == (7, 1, 0)
    assert counts(meter, "prune") == counts(meter, "tune") == (0, 0, 0)


def test_a_keyword_input_counts() -> None:
    class Named(nn.Module):
        def forward(self, *, scale: float, x: torch.Tensor) -> tuple[torch.Tensor, None]:
            return x * scale, None

    meter, model = Meter(), Named()
    with meter.watch(model), meter.phase("train"):
        model(scale=2.0, x=torch.randn(5, 1, requires_grad=True))[0].sum().backward()
    assert counts(meter) == (5, 1, 1)


def test_each_backward_through_a_kept_graph_counts() -> None:
    meter, model = Meter(), net()
    with meter.watch(model), meter.phase("train"):
        loss = F.cross_entropy(model(torch.randn(4, 6)), torch.zeros(4, dtype=torch.long))
        loss.backward(retain_graph=True)
        loss.backward(retain_graph=True)
        torch.autograd.grad(loss, list(model.parameters()))
    assert counts(meter) == (4, 1, 3)


def test_an_output_that_is_used_twice_is_one_backward() -> None:
    meter, model = Meter(), net()
    with meter.watch(model), meter.phase("train"):
        made = model(torch.randn(4, 6))
        (made.sum() + made.pow(2).sum()).backward()
    assert counts(meter) == (4, 1, 1)


def test_a_gradient_that_stops_at_the_output_is_no_backward() -> None:
    meter, model = Meter(), net()
    with meter.watch(model), meter.phase("train"):
        made = model(torch.randn(4, 6))
        torch.autograd.grad(made.pow(2).sum(), made)
    assert counts(meter) == (4, 1, 0)


def test_a_hessian_vector_product_is_two_backwards() -> None:
    meter, model = Meter(), net()
    with meter.watch(model), meter.phase("prune"):
        loss = F.cross_entropy(model(torch.randn(4, 6)), torch.zeros(4, dtype=torch.long))
        weights = list(model.parameters())
        first = torch.autograd.grad(loss, weights, create_graph=True)
        torch.autograd.grad(sum(g.sum() for g in first), weights, allow_unused=True)  # type: ignore[arg-type]
    assert counts(meter, "prune") == (4, 1, 2)


def test_gradients_by_sample_under_vmap_count_their_samples() -> None:
    meter, model = Meter(), net()
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(functional_call(model, weights, (x[None],)), y[None])

    with meter.watch(model), meter.phase("prune"):
        vmap(grad(loss), in_dims=(None, 0, 0))(weights, torch.randn(8, 6), torch.zeros(8, dtype=torch.long))
    assert counts(meter, "prune") == (8, 1, 1)


def test_a_backward_belongs_to_the_phase_in_which_it_runs() -> None:
    meter, model = Meter(), net()
    with meter.watch(model):
        with meter.phase("train"):
            made = model(torch.randn(2, 6))
        with meter.phase("prune"):
            made.sum().backward()
    assert counts(meter) == (2, 1, 0)
    assert counts(meter, "prune") == (0, 0, 1)


def test_copies_count_once_and_stop_with_the_watch() -> None:
    meter, model = Meter(), net()
    with meter.phase("prune"):
        with meter.watch(model):
            working = copy.deepcopy(model)
            with meter.watch(working), meter.watch(model):
                working(torch.randn(3, 6))
            late = model(torch.randn(2, 6))
        assert counts(meter, "prune") == (5, 2, 0)
        model(torch.randn(2, 6))
        working(torch.randn(2, 6))
        late.sum().backward()
        assert counts(meter, "prune") == (5, 2, 0)
        with meter.watch(working):
            working(torch.randn(1, 6))
    assert counts(meter, "prune") == (6, 3, 0)


def test_a_closed_watch_leaves_no_hook_behind() -> None:
    model = net()
    Meter().watch(model).close()
    assert not model._forward_hooks


def test_two_meters_count_the_same_network() -> None:
    one, two, model = Meter(), Meter(), net()
    with one.watch(model), two.watch(model), one.phase("train"), two.phase("judge"):
        model(torch.randn(2, 6))
    assert counts(one) == counts(two, "judge") == (2, 1, 0)


def test_a_compiled_network_is_counted() -> None:
    meter, model = Meter(), torch.compile(net(), backend="eager")
    with meter.watch(model), meter.phase("train"):
        for _ in range(3):
            model(torch.randn(4, 6)).sum().backward()
    assert counts(meter) == (12, 3, 3)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(cost.time, "perf_counter", made)
    return made


def seconds(meter: Meter) -> dict[str, float]:
    return {name: phase["seconds"] for name, phase in meter.as_dict().items()}


def test_seconds_add_up_and_an_inner_phase_alone_pays(clock: Clock) -> None:
    meter = Meter()
    clock.now += 1000
    with meter.phase("train"):
        clock.now += 1
        with meter.phase("prune"):
            clock.now += 10
            with meter.phase("train"):
                clock.now += 0.5
        clock.now += 2
        assert seconds(meter)["train"] == 3.5
    clock.now += 1000

    def break_off() -> None:
        with meter.phase("train"):
            clock.now += 4
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    clock.now += 1000
    assert seconds(meter) == {"train": 7.5, "prune": 10.0, "tune": 0.0, "judge": 0.0}


def test_real_seconds_are_seconds() -> None:
    meter = Meter()
    with meter.phase("train"):
        time.sleep(0.05)
    assert 0.05 <= seconds(meter)["train"] < 5


def test_an_unknown_phase_is_refused() -> None:
    with (
        pytest.raises(ValueError, match="no phase 'training', only train, prune, tune, judge"),
        Meter().phase("training"),
    ):
        pass


def test_a_resumed_meter_goes_on(clock: Clock) -> None:
    first = Meter()
    with first.phase("train"):
        clock.now += 3
        first.count(samples=5, forward=2, backward=1, trials=4)
        state = json.loads(json.dumps(first.state()))
    second = Meter()
    with second.phase("train"):
        clock.now += 50
        second.restore(state)
        clock.now += 2
        second.count(samples=1)
    found = second.as_dict()["train"]
    assert (found["seconds"], found["samples"], found["forward"], found["backward"], found["trials"]) == (5, 6, 2, 1, 4)
    assert found["peak_bytes"] >= state["train"]["peak_bytes"] > 0


def test_a_stored_cost_is_charged_and_the_greater_peak_counts() -> None:
    meter = Meter()
    counted = {"samples": 10, "forward": 3, "backward": 2, "trials": 1}
    stored = {"seconds": 2.5, "cpu_seconds": 4.5, "peak_bytes": 300, **counted}
    meter.charge("train", stored)
    meter.charge("train", {**stored, "peak_bytes": 200})
    expected = {"seconds": 5.0, "cpu_seconds": 9.0, "peak_bytes": 300, **{k: 2 * v for k, v in counted.items()}}
    assert meter.as_dict()["train"] == expected


def test_seconds_of_the_processor_pass_while_it_works_and_not_while_it_sleeps() -> None:
    meter = Meter()
    with meter.phase("train"):
        time.sleep(0.2)
    with meter.phase("prune"):
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
    told = {name: phase["cpu_seconds"] for name, phase in meter.as_dict().items()}
    assert told["train"] < 0.1 <= told["prune"]
    assert told["tune"] == 0.0


def test_seconds_of_the_processor_that_a_part_does_not_tell_are_a_gap() -> None:
    meter = Meter()
    meter.charge("train", {"seconds": 1.0, "cpu_seconds": 1.0})
    assert meter.as_dict()["train"]["cpu_seconds"] == 1.0
    meter.charge("train", {"seconds": 1.0})
    meter.charge("train", {"seconds": 1.0, "cpu_seconds": 1.0})
    assert meter.as_dict()["train"]["cpu_seconds"] is None
    meter.charge("prune", {})
    assert meter.as_dict()["prune"]["cpu_seconds"] == 0.0
    again = Meter()
    again.restore(json.loads(json.dumps(meter.state())))
    assert again.as_dict()["train"]["cpu_seconds"] is None


def test_a_peak_that_nobody_told_is_a_gap() -> None:
    meter = Meter()
    idle = meter.as_dict()["judge"]
    assert idle["peak_bytes"] is None
    meter.charge("train", {"seconds": 1.0, "peak_bytes": 300})
    meter.charge("train", idle)
    assert meter.as_dict()["train"]["peak_bytes"] == 300
    meter.charge("train", {"seconds": 1.0, "peak_bytes": None})
    meter.charge("train", {"seconds": 1.0, "peak_bytes": 500})
    assert meter.as_dict()["train"]["peak_bytes"] is None


def test_what_is_counted_outside_of_a_phase_is_nobodys() -> None:
    meter = Meter()
    meter.count(samples=3, trials=1)
    assert all(meter.as_dict()[name]["samples"] == 0 == meter.as_dict()[name]["trials"] for name in PHASES)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_each_phase_has_its_own_peak() -> None:
    meter = Meter()
    with meter.phase("train"):
        before = torch.zeros(40 * MIB)
        with meter.phase("prune"):
            torch.zeros(100 * MIB // 4)
        del before
    with meter.phase("judge"):
        time.sleep(0)
    peaks = {name: phase["peak_bytes"] for name, phase in meter.as_dict().items()}
    assert 80 * MIB < peaks["prune"] - peaks["train"] < 120 * MIB
    assert 140 * MIB < peaks["train"] - peaks["judge"] < 180 * MIB
    assert peaks["tune"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_memory_freed_by_an_earlier_run_is_not_charged() -> None:
    """With the settings of a worker, freed memory stays in the process until the meter gives it back."""
    code = """if True:
        import numpy as np, json
        from synobench.cost import Meter
        peaks = []
        for size in (50_000_000, 1):
            meter = Meter()
            with meter.phase("train"):
                np.ones(size, np.float32)
            peaks.append(meter.as_dict()["train"]["peak_bytes"])
        print(json.dumps(peaks))
    """
    from synobench.worker import worker_environment

    command = [sys.executable, "-c", code]
    environment = {**os.environ, **worker_environment()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    first, second = json.loads(done.stdout)
    assert first - second > 150_000_000


def test_where_the_kernel_does_not_tell_there_is_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, *_: Any) -> int:
        raise PermissionError(path)

    monkeypatch.setattr(cost.os, "open", refuse)
    meter = Meter()
    with meter.phase("train"):
        pass
    assert meter.as_dict()["train"]["peak_bytes"] is None
    assert meter.as_dict()["train"]["seconds"] > 0


def test_a_device_of_its_own_is_asked_for_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []

    def told(name: str, value: int | None = None) -> None:
        def call(device: object = "") -> int | None:
            calls.append((name, str(device)))
            return value

        monkeypatch.setattr(torch.cuda, name, call)

    told("synchronize")
    told("reset_peak_memory_stats")
    told("empty_cache")
    told("max_memory_allocated", 123)
    meter = Meter("cuda:1")
    with meter.phase("train"):
        assert ("synchronize", "cuda:1") in calls
        calls.clear()
    assert calls[:2] == [("synchronize", "cuda:1"), ("max_memory_allocated", "cuda:1")]
    assert meter.as_dict()["train"]["peak_bytes"] == 123


def test_the_meter_is_imported_without_torch() -> None:
    code = "import sys, synobench.cost; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_counting_a_pass_takes_microseconds() -> None:
    model, x, meter = nn.Identity(), torch.zeros(2, 3), Meter()

    def cheapest() -> float:
        best = float("inf")
        for _ in range(20):
            start = time.perf_counter()
            for _ in range(200):
                model(x)
            best = min(best, (time.perf_counter() - start) / 200)
        return best

    bare = cheapest()
    with meter.phase("train"), meter.watch(model):
        watched = cheapest()
    assert counts(meter)[1] == 4000
    assert watched - bare < 50e-6
