"""Per-sample gradients: every way gives those of a plain backward pass, within bounds that are told beforehand."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from synobench.cost import Meter
from synobench.errors import BenchError
from synobench.feed import Feed
from synobench.gradients import SampleGradients, Span, drop_rows
from synobench.gradients.canvas import Canvas
from synobench.gradients.capture import supported
from synobench.gradients.collect import collect
from synobench.gradients.plan import CHUNK_BYTES, WAYS, Ask, groups, plan
from synobench.gradients.screen import _alike, residuals
from synobench.gradients.ways import Problem
from synobench.networks import build, prunable
from synobench.registry import Registry

SHAPE, CLASSES = (2, 9, 9), 5


class Grouped(nn.Module):
    """Convolutions with stride, padding, dilation and groups, one layer used twice, batch norm, an in-place ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, stride=2, padding=(2, 1), dilation=(2, 1), bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 8, (3, 2), padding=1, groups=2)
        self.bn = nn.BatchNorm2d(8)
        self.twice = nn.Conv2d(8, 8, 1, groups=4)
        self.drop = nn.Dropout(0.5)
        self.fc1 = nn.Linear(8, 6)
        self.fc2 = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.fc1.weight.dtype)
        x = self.bn(self.conv2(self.relu(self.conv1(x))))
        x = self.twice(F.relu(self.twice(x)))
        # A linear layer at every pixel: places are a dimension of their own behind the samples.
        x = F.relu(self.fc1(x.flatten(2).transpose(1, 2)))
        return self.fc2(self.drop(x).mean(1))


class Functional(nn.Module):
    """A layer whose weight is used without calling it: no hook sees that."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(162, 4), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.tanh(F.linear(x.flatten(1), self.fc1.weight)))


class SamplesFirst(nn.Module):
    """A spiking-like network that folds time behind the samples, unlike those of the bench."""

    steps = 3

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(162, 4), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        times = torch.stack([x.flatten(1) * t for t in (1.0, 0.5, 2.0)], 1)
        out = self.fc2(torch.tanh(self.fc1(times.flatten(0, 1))))
        return out.view(len(x), 3, CLASSES).transpose(0, 1)


def feed(shape: tuple[int, int, int] = SHAPE, classes: int = CLASSES, count: int = 40) -> Feed:
    draws = np.random.RandomState(0)
    images = draws.randint(0, 256, (count, *shape)).astype(np.uint8)
    return Feed(images, draws.randint(0, classes, count), [0.5], [0.25])


def own(kind: Callable[[], nn.Module], size: int = 1) -> tuple[Problem, Feed]:
    torch.manual_seed(3)
    model = kind().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    return Problem(model, prunable(model, ["*"]), size), feed()


def built(registry: Registry, model: str, dataset: str, neuron: str | None, **params: Any) -> tuple[Problem, Feed]:
    inputs = {
        "dataset": {"name": dataset},
        "model": {"name": model, "params": params},
        "neuron": neuron and {"name": neuron, "params": {}},
        "seed": 0,
    }
    entry = registry.get("dataset", dataset)
    net = build(inputs, registry).eval()
    return Problem(net, prunable(net, ["*"])), feed(entry.shape, entry.classes, 12)


def by_sample(problem: Problem, lent: Feed, places: Tensor) -> Tensor:
    """Return [samples, p] by the plainest of loops."""
    rows = []
    for place in places:
        inputs, labels = lent.take(place[None])
        out = problem.model(inputs)
        loss = F.cross_entropy(out.mean(0) if out.dim() == 3 else out, labels)
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(problem.weights.values()))]))
    return torch.stack(rows)


def drawn_order(found: SampleGradients) -> Tensor:
    """Return [m, p], rows as they were drawn."""
    return found.matrix.T[found.index.argsort()]


def close(found: Tensor, wanted: Tensor, relative: float = 1e-5) -> bool:
    return bool((found - wanted).norm() <= relative * wanted.norm()) and float(wanted.norm()) > 0


NETWORKS: dict[str, Any] = {
    "mlp": ("mlp-300-150-10", "digits", None),
    "resnet20": ("resnet20", "cifar-10", None),
    "snn-mlp": ("snn-mlp", "digits", "fused"),
    "snn-conv": ("snn-conv", "digits", "fused"),
    "snn-conv on snntorch": ("snn-conv", "digits", "snntorch"),
    "snn-conv on spikingjelly": ("snn-conv", "digits", "spikingjelly"),
}
NO_VMAP = {"snn-conv on snntorch", "snn-conv on spikingjelly"}
"""Their surrogates are not written for functorch."""


@pytest.mark.parametrize("name", list(NETWORKS))
def test_all_ways_agree_on_the_networks_of_the_bench(name: str, registry: Registry) -> None:
    problem, lent = built(registry, *NETWORKS[name])
    places = torch.tensor([5, 0, 7, 2, 11, 3])
    wanted = by_sample(problem, lent, places)
    for way in [w for w in (*WAYS, "auto") if not (w == "vmap" and name in NO_VMAP)]:
        found = collect(problem, lent, places, Ask(6), way)
        assert close(drawn_order(found), wanted), way
        assert close(found.total, wanted.sum(0)), way
        assert found.squares.tolist() == pytest.approx(
            wanted.square().sum(1).sort(descending=True)[0].tolist(), rel=1e-5
        )


@pytest.mark.parametrize("size", [1, 3])
def test_all_ways_agree_on_strides_groups_and_shared_layers_and_rows_of_several_are_means(size: int) -> None:
    problem, lent = own(Grouped, size)
    assert supported(problem)
    places = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    singles = by_sample(problem, lent, places)
    wanted = singles.view(30 // size, size, -1).mean(1)
    for way in WAYS:
        found = collect(problem, lent, places, Ask(30, size), way)
        assert found.matrix.shape == (singles.shape[1], found.drawn) == (singles.shape[1], 30 // size)
        assert close(drawn_order(found), wanted), way
        assert close(found.total, singles.sum(0)), way


@pytest.mark.parametrize("kind", [Functional, SamplesFirst])
def test_where_hooks_are_wrong_another_way_is_taken(kind: Callable[[], nn.Module]) -> None:
    problem, lent = own(kind)
    places = torch.arange(10)
    wanted = by_sample(problem, lent, places)
    assert not close(drawn_order(collect(problem, lent, places, Ask(10), "hooks")), wanted)
    assert close(drawn_order(collect(problem, lent, places, Ask(10))), wanted)


def test_where_vmap_fails_too_rows_are_taken_one_by_one_and_the_network_is_none_the_worse(registry: Registry) -> None:
    problem, lent = built(registry, *NETWORKS["snn-conv on snntorch"])
    places = torch.arange(4)
    wanted = by_sample(problem, lent, places)
    with pytest.raises(RuntimeError, match="setup_context"):
        collect(problem, lent, places, Ask(4), "vmap")
    assert close(drawn_order(collect(problem, lent, places, Ask(4), "hooks")), wanted)


def test_the_matrix_is_weight_major_in_the_models_order() -> None:
    problem, lent = own(Grouped)
    found = collect(problem, lent, torch.arange(8), Ask(8))
    assert found.matrix.dtype == torch.float32
    assert found.matrix.is_contiguous()
    assert [s.name for s in found.spans] == list(problem.weights)
    assert all(torch.equal(w, problem.weights[n]) for n, w in found.unflatten(found.weights).items())
    assert found.squares.tolist() == sorted(found.squares.tolist(), reverse=True)
    assert sorted(found.index.tolist()) == list(range(8))


def test_some_tensors_alone() -> None:
    problem, lent = own(Grouped)
    whole = collect(problem, lent, torch.arange(8), Ask(8))
    some = dataclasses.replace(problem, weights={n: problem.weights[n] for n in ("conv2.weight", "fc2.weight")})
    part = collect(some, lent, torch.arange(8), Ask(8))
    assert [s.name for s in part.spans] == ["conv2.weight", "fc2.weight"]
    wanted = [whole.unflatten(whole.total)[s.name].flatten() for s in part.spans]
    assert close(part.total, torch.cat(wanted))


def test_a_float64_network_gives_float32() -> None:
    problem, lent = own(Grouped)
    wanted = collect(problem, lent, torch.arange(4), Ask(4)).total
    problem.model.double()
    found = collect(problem, lent, torch.arange(4), Ask(4))
    assert found.total.dtype == found.matrix.dtype == found.weights.dtype == torch.float32
    assert close(found.total, wanted)


# Memory.


def test_what_does_not_fit_is_refused_before_the_first_pass() -> None:
    problem, lent = own(Grouped)
    needed = plan(problem, 40).bytes
    meter = Meter()
    with meter.watch(problem.model), meter.phase("prune"):
        with pytest.raises(BenchError, match=r"weights over 40 rows need .* the bound is .* fewer samples"):
            collect(problem, lent, torch.arange(40), Ask(40), bound=needed - 1)
        assert meter.as_dict()["prune"]["forward"] == 0
        found = collect(problem, lent, torch.arange(40), Ask(40), bound=needed)
    p = found.matrix.shape[0]
    assert needed > 4 * p * 40
    assert found.told["gradient_bytes"] == needed


def test_another_way_keeps_to_the_bound_too() -> None:
    problem, lent = own(Functional)
    hooks, vmap = (plan(problem, 40, way).bytes for way in ("hooks", "vmap"))
    assert hooks < vmap
    with pytest.raises(BenchError, match="raise memory"):
        collect(problem, lent, torch.arange(40), Ask(40), bound=vmap - 1)
    assert collect(problem, lent, torch.arange(40), Ask(40), bound=vmap).told["gradient_bytes"] == vmap


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"samples": 10, "size": 3}, "whole rows"),
        ({"samples": 0}, "whole rows"),
        ({"screen": 0.0}, "share"),
        ({"screen": 1.1}, "share"),
        ({"screen": 0.9, "size": 2}, "single images"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(BenchError, match=told):
        Ask(**{"samples": 12, **fields})


def test_an_unknown_way_is_refused() -> None:
    problem, _ = own(Grouped)
    with pytest.raises(BenchError, match=r"'hook' \(did you mean 'hooks'"):
        plan(problem, 4, "hook")


@given(st.integers(1, 300), st.integers(1, 40), st.integers(16, 90), st.data())
def test_a_canvas_turns_what_is_written_row_by_row(weights: int, rows: int, width: int, data: st.DataObject) -> None:
    canvas = Canvas(weights, rows)
    canvas.width = width
    wanted = torch.rand(rows, weights)
    cuts = sorted({0, weights, *data.draw(st.lists(st.integers(0, weights), max_size=4))})
    chunk = data.draw(st.integers(1, rows))
    for row in range(0, rows, chunk):
        for start, stop in itertools.pairwise(cuts):
            canvas.write(row, start, wanted[row : row + chunk, start:stop])
    order = torch.randperm(rows)[: data.draw(st.integers(1, rows))]
    matrix, sums = canvas.finish(order)
    assert torch.equal(matrix, wanted[order].T)
    assert torch.allclose(sums, wanted[order].sum(0), rtol=1e-5)


# Cost.


@pytest.mark.parametrize(("way", "passes"), [("hooks", 2), ("vmap", 2), ("loop", 12)])
def test_passes_and_samples_are_charged(way: str, passes: int) -> None:
    problem, lent = own(Grouped)
    meter = Meter()
    problem = dataclasses.replace(problem)
    with meter.watch(problem.model), meter.phase("prune"):
        for part in (torch.arange(6), torch.arange(6, 12)):
            collect(problem, lent, part, Ask(6), way)
    cost = meter.as_dict()["prune"]
    assert (cost["samples"], cost["forward"], cost["backward"]) == (12, passes, passes)


# Rows dropped under a ridge.


def some_gradients(p: int, n: int, seed: int = 0) -> SampleGradients:
    draws = torch.Generator().manual_seed(seed)
    scales = torch.logspace(0, -6, n)
    rows = torch.randn(n, p, generator=draws) * scales[torch.randperm(n, generator=draws), None]
    squares, order = rows.double().square().sum(1).sort(descending=True)
    return SampleGradients(rows[order].T.contiguous(), rows.sum(0), n, torch.randn(p, generator=draws),
        (Span("w", 0, p, (p,)),), squares, order)  # fmt: skip


@given(st.integers(2, 20), st.integers(1, 30), st.floats(1e-6, 10), st.floats(0, 2), st.integers(0, 9))
def test_dropped_rows_change_the_quadratic_by_no_more_than_epsilon(
    p: int, n: int, ridge: float, epsilon: float, seed: int
) -> None:
    whole = some_gradients(p, n, seed)
    left = drop_rows(whole, ridge, epsilon)
    lambda2 = n * ridge / 2
    assert left.matrix.shape[1] == len(left.squares) == len(left.index) == left.told["gradient_rows"]
    assert torch.equal(left.total, whole.total)
    assert left.drawn == n
    for i in range(5):
        step = torch.randn(p, generator=torch.Generator().manual_seed(i)).double()
        values = [
            0.5 * (g.matrix.double().T @ step).square().sum() + lambda2 * step.square().sum() for g in (whole, left)
        ]
        assert values[1] <= values[0] * (1 + 1e-12)
        assert values[0] <= (1 + epsilon) * values[1] * (1 + 1e-12)
    if left.matrix.shape[1] < n:
        gone = float(whole.squares[left.matrix.shape[1] :].sum())
        assert gone <= epsilon * 2 * lambda2 * (1 + 1e-12)
    if left.matrix.shape[1]:
        # One more would be too much.
        assert float(whole.squares[left.matrix.shape[1] - 1 :].sum()) > epsilon * 2 * lambda2


def test_groups_go_through_all_tensors_in_order_within_the_bound() -> None:
    sizes = {"a": 5, "b": 1, "c": 20_000_000, "d": 3, "e": 2_000_000}
    rows, chunk = 1000, 2 * CHUNK_BYTES
    assert groups(sizes, rows, 10**12) == [tuple(sizes)]
    assert groups(sizes, rows, 0) == [(name,) for name in sizes]
    # Only the large one is too large for the others to stand beside it.
    assert groups(sizes, rows, chunk + 4 * rows * 6) == [("a", "b"), ("c",), ("d",), ("e",)]
    assert groups(sizes, rows, chunk + 4 * rows * 2_000_003) == [("a", "b"), ("c",), ("d", "e")]


def test_dropping_is_a_view() -> None:
    whole = some_gradients(6, 20)
    left = drop_rows(whole, 1e-3, 0.01)
    assert 0 < left.matrix.shape[1] < 20
    assert left.matrix.data_ptr() == whole.matrix.data_ptr()


@pytest.mark.parametrize(("ridge", "epsilon"), [(-1.0, 0.1), (1.0, -0.1), (float("nan"), 0.1), (1.0, float("inf"))])
def test_a_ridge_that_is_none_is_refused(ridge: float, epsilon: float) -> None:
    with pytest.raises(BenchError, match="0 or more"):
        drop_rows(some_gradients(3, 3), ridge, epsilon)


# Screening.


def skewed(sharpness: float = 40.0) -> tuple[Problem, Feed]:
    """Return a network that is sure of most images, and right about most, so that few hold nearly all of the trace."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(162, CLASSES)).eval()
    lent = feed(count=200)
    with torch.no_grad():
        model[1].weight.mul_(sharpness)
        sure = model(lent.take(slice(None))[0]).argmax(1)
    lent._labels = torch.where(torch.arange(200) % 9 == 0, lent._labels, sure)
    return Problem(model, prunable(model, ["*"])), lent


@pytest.mark.parametrize("share", [0.9, 0.999])
def test_screening_reaches_the_share_with_fewer_backward_passes_and_says_so(share: float) -> None:
    problem, lent = skewed()
    places = torch.arange(200)
    whole = collect(problem, lent, places, Ask(200))
    meter = Meter()
    with meter.watch(problem.model), meter.phase("prune"):
        found = collect(problem, lent, places, Ask(200, screen=share))
    rows = found.matrix.shape[1]
    assert rows < 140
    assert float(found.squares.sum()) >= share * float(whole.squares.sum())
    held = float(found.squares.sum() / whole.squares.sum())
    assert share <= found.told["gradient_share"] <= held + 1e-6
    assert found.told["gradient_rows"] == rows
    assert found.samples == found.drawn == 200
    assert close(found.total, whole.total)
    picked = found.index.tolist()
    assert len(set(picked)) == rows
    assert torch.allclose(found.matrix.T, by_sample(problem, lent, torch.tensor(picked)), rtol=1e-4, atol=1e-6)


def test_without_the_total_the_rest_needs_no_backward_pass_and_the_total_is_no_number() -> None:
    problem, lent = skewed()
    meter = Meter()
    with meter.watch(problem.model), meter.phase("prune"):
        found = collect(problem, lent, torch.arange(200), Ask(200, screen=0.9, total=False), "hooks")
    assert bool(found.total.isnan().all())
    assert meter.as_dict()["prune"]["samples"] == 200 + found.matrix.shape[1]


def test_where_norms_do_not_follow_residuals_every_row_is_computed() -> None:
    problem, lent = skewed(4.0)
    with torch.no_grad():
        # Images of very different size: their gradients are, with residuals alike.
        lent._images[::2] = 128
    found = collect(problem, lent, torch.arange(200), Ask(200, screen=0.5))
    assert found.matrix.shape[1] == 200
    assert found.told["gradient_share"] == 1.0


def test_images_of_next_to_no_residual_do_not_count_for_the_spread() -> None:
    sizes = torch.tensor([1.0, 0.5, 0.1, 1e-4, 0.0], dtype=torch.float64)
    for ratio, alike in ((50.0, True), (0.5, True), (2e-3, True)):
        assert _alike(torch.tensor([1.0, 2.0, 3.0, ratio], dtype=torch.float64), sizes) is alike
    for ratio in (500.0, 1e-3):
        assert not _alike(torch.tensor([1.0, 2.0, ratio, 1.0], dtype=torch.float64), sizes)
    assert not _alike(torch.zeros(0, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))


def test_residuals_are_those_of_the_softmax() -> None:
    problem, lent = own(Grouped)
    inputs, labels = lent.take(slice(0, 7))
    wanted = [
        float((problem.model(x[None]).softmax(1) - F.one_hot(y, CLASSES)).norm().detach())
        for x, y in zip(inputs, labels, strict=True)
    ]
    assert residuals(problem, lent, torch.arange(7)).tolist() == pytest.approx(wanted, rel=1e-5)
