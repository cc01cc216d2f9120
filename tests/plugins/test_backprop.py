"""Backpropagation: losses, schedule, augmentation; a resumed run is the uninterrupted one to the bit."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from synobench import PrunerEntry
from synobench.augment import augmented, crop, flip
from synobench.cost import Meter
from synobench.feed import Feed
from synobench.networks import _reset
from synobench.neurons import LIF
from synobench.rates import rate_at
from synobench.registry import Registry
from synobench.rules import Session
from synobench.surgery import Proposal, Referee
from synobench.tensors import load_tree, save_tree
from synobench.training import Phase
from synobench_backprop import Backprop
from synobench_backprop.rule import BackpropRule, tet_loss

SIDE = 8


def feed(count: int = 26, seed: int = 0) -> Feed:
    draws = np.random.RandomState(seed)
    images = draws.randint(0, 256, (count, 1, SIDE, SIDE)).astype(np.uint8)
    return Feed(images, draws.randint(0, 4, count), [0.5], [0.25])


def ordinary() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 4),
    )


class Spiking(nn.Module):
    """A convolution with batch norm, the bench's own neurons and a head, over four steps."""

    steps = 4

    def __init__(self, neuron: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.conv, self.bn, self.lif = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), neuron()
        self.fc = nn.Linear(4 * SIDE * SIDE, 4)

    def forward(self, x: Tensor) -> Tensor:
        current = self.bn(self.conv(x))
        out: Tensor = self.fc(self.lif(current.expand(self.steps, *current.shape).contiguous()).flatten(2))
        return out


@pytest.fixture
def networks(registry: Registry) -> dict[str, Callable[[], nn.Module]]:
    fused = registry.get("neuron", "fused").load()

    def seeded(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        def build() -> nn.Module:
            torch.manual_seed(0)
            model = make()
            model.register_forward_pre_hook(_reset)
            return model

        return build

    return {"ordinary": seeded(ordinary), "spiking": seeded(lambda: Spiking(lambda: fused(LIF())))}


def phase(model: nn.Module, epochs: int = 3, shown: Feed | None = None, **params: Any) -> Phase:
    session = Session(model=model, feed=shown or feed(), phase="train", epochs=epochs, batch=8, seed=1)
    return Phase(session=session, rule=BackpropRule(Backprop(**params)), meter=Meter(), validation=feed(9, 1))


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(v, other.state_dict()[n]) for n, v in one.state_dict().items())


OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "rate": 0.1, "momentum": 0.9, "decay": 0.01},
    "plain": {"optimizer": "sgd", "rate": 0.1, "momentum": 0.0},
    "adamw": {"optimizer": "adamw", "rate": 0.01, "decay": 0.1, "warmup": 1.5},
}


@pytest.mark.parametrize("kind", ["ordinary", "spiking"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resumed_at_any_epoch_it_is_the_uninterrupted_run_to_the_bit(
    kind: str, optimizer: str, networks: dict[str, Callable[[], nn.Module]], tmp_path: Any
) -> None:
    params = {**OPTIMIZERS[optimizer], "augment": "crop-flip"}
    model = networks[kind]()
    before = copy.deepcopy(model)
    whole = phase(model, **params)
    whole.saved = lambda tree: save_tree(tmp_path / str(tree["epoch"]), tree)
    whole.run()
    assert not same(model, before)
    for cut in range(3):
        other = networks[kind]()
        torch.rand(3)
        resumed = phase(other, **params)
        resumed.run(load_tree(tmp_path / str(cut)))
        assert same(other, model), cut
        assert resumed.curve == whole.curve


def manual(
    model: nn.Module, shown: Feed, optimizer: Callable[[Any], torch.optim.Optimizer], rates: list[float]
) -> None:
    """Train by the book: the session's order, one update a batch, the given rates."""
    session = Session(model=model, feed=shown, phase="train", epochs=2, batch=8, seed=1)
    made, left = optimizer(model.parameters()), iter(rates)
    model.train()
    for epoch in range(2):
        for inputs, labels in session.batches(epoch):
            made.param_groups[0]["lr"] = next(left)
            made.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            made.step()


def dense() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4))


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_an_update_is_torchs_own_at_the_rate_of_the_schedule(kind: str) -> None:
    params = {"optimizer": kind, "rate": 0.05, "momentum": 0.8, "decay": 0.01, "warmup": 0.5}
    model, plain = dense(), dense()
    phase(model, epochs=2, **params).run()

    def build(parameters: Any) -> torch.optim.Optimizer:
        if kind == "adamw":
            return torch.optim.AdamW(parameters, lr=9.0, weight_decay=0.01)
        return torch.optim.SGD(parameters, lr=9.0, momentum=0.8, weight_decay=0.01)

    warm = [0.05 * 1 / 2, 0.05]
    cosine = [0.05 * 0.5 * (1 + math.cos(math.pi * i / 6)) for i in range(6)]
    manual(plain, feed(), build, warm + cosine)
    for name, value in plain.state_dict().items():
        assert torch.allclose(model.state_dict()[name], value, atol=1e-6), name


@given(st.integers(1, 50), st.integers(0, 60), st.sampled_from(["cosine", "constant"]))
def test_the_rate_warms_up_and_falls_to_nothing_or_stays(total: int, warmup: int, schedule: str) -> None:
    params = Backprop(rate=0.3, schedule=schedule)
    rates = [rate_at(i, total, warmup, params.rate, params.schedule) for i in range(total)]
    warm, rest = rates[:warmup], rates[warmup:]
    assert all(r == pytest.approx(0.3 * (i + 1) / warmup) for i, r in enumerate(warm))
    assert all(0 < r <= 0.3 for r in rates)
    assert rest == sorted(rest, reverse=True)
    if rest:
        assert rest[0] == pytest.approx(0.3)
    if schedule == "constant":
        assert set(rest) <= {0.3}
    elif len(rest) > 1:
        assert rest[-1] < 0.3 * 0.8
        assert rate_at(total, total, warmup, params.rate, params.schedule) == pytest.approx(0.0, abs=1e-12)


def test_tet_is_the_mean_over_steps_of_each_ones_loss() -> None:
    outputs, labels = torch.randn(3, 5, 4), torch.tensor([0, 1, 2, 3, 0])
    each = torch.stack([F.cross_entropy(step, labels) for step in outputs]).mean()
    assert torch.allclose(tet_loss(outputs, labels), each)
    assert not torch.allclose(F.cross_entropy(outputs.mean(0), labels), each)


def test_the_loss_is_of_the_mean_output_or_of_each_steps() -> None:
    outputs, labels = torch.randn(3, 5, 4), torch.tensor([0, 1, 2, 3, 0])
    mean, each = (BackpropRule(Backprop(loss=loss))._loss(outputs, labels) for loss in ("cross-entropy", "tet"))
    assert torch.allclose(mean, F.cross_entropy(outputs.mean(0), labels))
    assert torch.allclose(each, tet_loss(outputs, labels))
    flat = BackpropRule(Backprop(loss="tet"))._loss(outputs[0], labels)
    assert torch.allclose(flat, F.cross_entropy(outputs[0], labels))


def test_a_penalty_joins_the_loss_and_its_gradient() -> None:
    plain, punished = dense(), dense()
    phase(plain, epochs=1, rate=0.05).run()
    run = phase(punished, epochs=1, rate=0.05)
    run.session.penalty = lambda: 0.1 * sum(p.square().sum() for p in punished.parameters())
    run.run()
    sizes = [sum(float(p.detach().square().sum()) for p in model.parameters()) for model in (punished, plain)]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_masked_weights_are_zero_after_each_update(optimizer: str) -> None:
    model = dense()
    run = phase(model, epochs=2, optimizer=optimizer, rate=0.05, decay=0.1)
    referee = Referee(model, ["*"])
    mask = torch.rand(8, 64) < 0.3
    referee.apply(Proposal({"1.weight": mask}), PrunerEntry("p", summary="s"))
    run.referee, run.after_update = referee, lambda _: referee.verify()
    run.run()
    assert torch.equal(model[1].weight != 0, mask)


def test_every_precision_learns(networks: dict[str, Callable[[], nn.Module]]) -> None:
    for precision in ("float32", "bfloat16"):
        model = networks["ordinary"]()
        run = phase(model, epochs=6, rate=0.05)
        run.session.precision = precision
        run.run()
        losses = [point["loss"] for point in run.curve]
        assert losses[-1] < 0.8 * losses[0], precision
        assert next(model.parameters()).dtype == torch.float32


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_crop_is_a_shift_of_at_most_its_margin_filled_with_zeros() -> None:
    images = torch.arange(1.0, 1 + 40 * 2 * 6 * 5).view(40, 2, 6, 5)
    cut = crop(images, 2, draws())
    assert cut.shape == images.shape
    assert cut.is_contiguous()
    padded = F.pad(images, (2, 2, 2, 2))
    places = []
    for image, whole in zip(cut, padded, strict=True):
        found = [(r, c) for r in range(5) for c in range(5) if torch.equal(image, whole[:, r : r + 6, c : c + 5])]
        assert len(found) == 1
        places += found
    assert {r for r, _ in places} == {c for _, c in places} == set(range(5))


def test_a_flip_mirrors_about_half_of_the_images_left_to_right() -> None:
    images = torch.rand(200, 1, 3, 4)
    turned = flip(images, draws())
    mirrored = [torch.equal(t, i.flip(2)) for t, i in zip(turned, images, strict=True)]
    kept = [torch.equal(t, i) for t, i in zip(turned, images, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 70 < sum(mirrored) < 130


def test_augmentation_is_drawn_from_the_seed_alone_and_is_left_out_where_none_is_asked() -> None:
    images = torch.rand(9, 1, SIDE, SIDE)
    for name, changes in (("none", False), ("crop", True), ("crop-flip", True)):
        first, again = (augmented(images, name, draws(3)) for _ in range(2))
        assert torch.equal(first, again)
        assert torch.equal(first, images) != changes


def test_it_learns_the_digits_whatever_the_optimiser(suite_cells: Any, job_of: Any) -> None:
    from synobench.engine import perform
    from synobench.store import read_json

    for rule in ("backprop[rate=0.1]", "backprop[optimizer=adamw,rate=0.01]"):
        (cell,) = suite_cells(rule=rule, pruners=["none"], train=4, batch=64)
        record = read_json(Path(perform(job_of(cell))["path"]))
        assert record["outcome"]["test"]["top1"]["hits"] > 0.85 * 360
