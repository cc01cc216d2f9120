"""What a pruner is lent: what it measures is true, and what it tries leaves no trace."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synobench import networks
from synobench.cost import Meter
from synobench.errors import BenchError, ContractError
from synobench.feed import Batch, Feed
from synobench.ledger.recorder import Recorder
from synobench.selection import keep_by_layer, keep_globally
from synobench.workbench import Target, Tools, Workbench

SIDE, CLASSES = 4, 3


class Net(nn.Module):
    """A convolution, batch norm, dropout and a head, in float64 where asked."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.bn = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(3 * SIDE * SIDE, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.fc.weight.dtype)
        return self.fc(self.drop(F.relu(self.bn(self.conv(x)))).flatten(1))


def split(count: int, seed: int) -> Feed:
    draws = np.random.RandomState(seed)
    images = draws.randint(0, 256, (count, 1, SIDE, SIDE)).astype(np.uint8)
    return Feed(images, draws.randint(0, CLASSES, count), [0.5], [0.25])


def count(model: nn.Module, batches: Iterator[Batch], counter: str) -> float:
    recorder = Recorder(model)
    with recorder:
        for inputs, _ in batches:
            model(inputs)
    ledger = recorder.ledger()
    return sum(getattr(layer, counter) for layer in ledger.layers) / ledger.samples


def refuse(*_: Any) -> Any:
    raise AssertionError("this test lends no such tool")


def bench(target: Target | None = None, model: nn.Module | None = None, **tools: Any) -> Workbench:
    torch.manual_seed(1)
    usual: dict[str, Any] = {
        "feed": split(50, 0),
        "validation": split(21, 1),
        "seed": 0,
        "batch": 8,
        "patterns": ["*"],
        "meter": Meter(),
        "count": count,
        "tune": refuse,
        "once": lambda _, make: make(),
        "notify": lambda _: None,
    }
    return Workbench(model or Net(), Tools(**{**usual, **tools}), target or Target("sparsity", 0.5))


def everything(model: nn.Module) -> dict[str, Any]:
    """Return all that a look must not change: values, modes and gradients."""
    return {
        "values": {n: v.clone() for n, v in model.state_dict().items()},
        "modes": [m.training for m in model.modules()],
        "grads": [p.grad for p in model.parameters()],
    }


def unchanged(model: nn.Module, before: Mapping[str, Any]) -> bool:
    now = everything(model)
    values = all(torch.equal(v, before["values"][n]) for n, v in now["values"].items())
    grads = all(a is b for a, b in zip(now["grads"], before["grads"], strict=True))
    return values and grads and now["modes"] == before["modes"]


def half(found: Workbench) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(3)
    return {n: torch.rand(w.shape, generator=draws) < 0.5 for n, w in found.prunable.items()}


def test_mean_gradients_are_those_of_a_plain_backward_over_the_same_images() -> None:
    found = bench(model=Net().double())
    plain = copy.deepcopy(found.model).eval()
    inputs, labels = (torch.cat(parts) for parts in zip(*found.calibration(5), strict=True))
    F.cross_entropy(plain(inputs), labels).backward()
    told = found.mean_gradients(5)
    assert list(told) == ["conv.weight", "fc.weight"]
    for name, gradient in told.items():
        assert torch.allclose(gradient, plain.get_parameter(name).grad, rtol=1e-6, atol=1e-12)
        assert gradient.dtype == torch.float64
        assert not gradient.requires_grad


def test_mean_gradients_weigh_a_short_batch_by_its_images() -> None:
    found = bench(model=Net().double())
    plain = copy.deepcopy(found.model).eval()
    F.cross_entropy(plain(found.tools.feed.take(slice(None))[0]), found.tools.feed.take(slice(None))[1]).backward()
    for name, gradient in found.mean_gradients().items():
        assert torch.allclose(gradient, plain.get_parameter(name).grad, rtol=1e-6, atol=1e-12)


LOOKS: dict[str, Callable[[Workbench], object]] = {
    "mean_gradients": lambda b: b.mean_gradients(2),
    "evaluate": lambda b: b.evaluate(half(b)),
    "evaluate unmasked": lambda b: b.evaluate(),
    "synops": lambda b: b.synops("effective", half(b)),
    "keep_highest": lambda b: b.keep_highest({n: w.abs() for n, w in b.prunable.items()}),
    "calibration": lambda b: list(b.calibration(2)),
    "copy_model": lambda b: b.copy_model()(torch.rand(4, 1, SIDE, SIDE)).sum().backward(),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize("training", [True, False])
def test_a_look_changes_nothing(look: Callable[[Workbench], object], training: bool) -> None:
    found = bench(Target("synops", 0.5, "effective"))
    found.model.train(training)
    found.model.bn.eval()
    found.model.fc.weight.grad = torch.ones_like(found.model.fc.weight)
    before = everything(found.model)
    look(found)
    assert unchanged(found.model, before)


def test_a_candidate_is_measured_with_its_masks() -> None:
    found = bench(Target("synops", 0.5, "effective"))
    masks = half(found)
    masked = copy.deepcopy(found.model).eval()
    with torch.no_grad():
        for name, mask in masks.items():
            masked.get_parameter(name).mul_(mask)
        inputs, labels = found.tools.validation.take(slice(0, None, 2))
        accuracy = float((masked(inputs).argmax(1) == labels).float().mean())
        synops = count(masked, iter([(inputs, labels)]), "effective")
    told = found.evaluate(masks)
    assert told.accuracy == pytest.approx(accuracy)
    assert told.synops == pytest.approx(synops)
    assert found.synops("effective", masks) == pytest.approx(synops)
    assert found.synops("fanout", masks) > synops
    assert found.evaluate(masks, half=1).accuracy != told.accuracy or found.evaluate(masks, half=1).synops != synops


def test_without_a_synops_target_a_candidates_synops_are_none() -> None:
    assert bench().evaluate().synops is None


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        ({"conv.bias": torch.ones(3, dtype=torch.bool)}, "it masks 'conv.bias', which is not prunable"),
        ({"fc.weight": torch.ones(3, dtype=torch.bool)}, "must be bool of shape"),
        ({"fc.weight": torch.ones(CLASSES, 3 * SIDE * SIDE)}, "must be bool of shape"),
    ],
)
def test_masks_of_candidates_are_checked(masks: dict[str, Tensor], told: str) -> None:
    found = bench()
    for look in (found.evaluate, lambda m: found.synops("effective", m)):
        with pytest.raises(ContractError) as caught:
            look(masks)
        assert told in str(caught.value)


def test_a_trial_rolls_back_weights_buffers_and_modes_even_after_an_error() -> None:
    found = bench()
    found.model.bn.eval()
    before = everything(found.model)

    def attempt() -> None:
        with found.trial():
            assert not found.model.training
            found.model.train()
            found.model(torch.rand(8, 1, SIDE, SIDE))
            for weight in found.prunable.values():
                weight.zero_()
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        attempt()
    assert unchanged(found.model, before)


def test_trials_and_candidates_are_counted() -> None:
    found = bench()
    with found.tools.meter.phase("prune"):
        with found.trial():
            pass
        found.evaluate()
        found.synops("effective")
    assert found.tools.meter.as_dict()["prune"]["trials"] == 2


def test_fine_tuning_is_asked_of_the_engine() -> None:
    asked: list[Any] = []
    found = bench(tune=lambda *arguments: asked.append(arguments))
    masks = half(found)
    found.fine_tune(2, masks, salt=3)
    found.fine_tune(1)
    assert asked == [(found.model, 2, 3, masks), (found.model, 1, 0, {})]


def labels_of(batches: Iterator[Batch]) -> list[float]:
    return [round(float(inputs.sum()), 3) for inputs, _ in batches]


def test_calibration_is_seeded_training_data_in_batches() -> None:
    found = bench()
    images = {round(float(x.sum()), 3) for x in found.tools.feed.take(slice(None))[0]}
    first = labels_of(found.calibration(3, size=1))
    assert set(first) <= images
    assert len(first) == 3
    assert labels_of(bench().calibration(3, size=1)) == first
    assert labels_of(bench(seed=1).calibration(3, size=1)) != first
    assert [len(labels) for _, labels in found.calibration(2)] == [8, 8]
    whole = labels_of(found.calibration(size=1))
    assert (len(whole), set(whole)) == (50, images)


def test_validation_comes_whole_or_in_halves_that_share_nothing() -> None:
    found = bench()
    whole = found.tools.validation.take(slice(None))[0]
    told = {h: torch.cat([x for x, _ in found.validation(h)]) for h in (None, 0, 1)}
    assert torch.equal(told[None], whole)
    assert torch.equal(told[0], whole[0::2])
    assert torch.equal(told[1], whole[1::2])
    assert torch.equal(torch.cat([x for x, _ in found.validation(1, limit=3)]), whole[1::2][:3])


def test_generators_come_from_seed_and_purpose() -> None:
    drawn = [
        float(torch.rand((), generator=g))
        for g in (bench().generator(), bench().generator("x"), bench(seed=1).generator())
    ]
    assert len(set(drawn)) == 3
    assert float(torch.rand((), generator=bench().generator())) == drawn[0]


def test_once_seals_the_target_and_unseals_it_after() -> None:
    found = bench(Target("synops", 0.5, "effective"))
    for make in (
        lambda: found.target,
        lambda: found.keep_highest({n: w.abs() for n, w in found.prunable.items()}),
        lambda: (found.once("inner", lambda: 1), found.target),
    ):
        with pytest.raises(ContractError, match=r"the target was read inside once\(\)"):
            found.once("scores", make)
        assert found.target.value == 0.5
    assert found.once("scores", found.evaluate).synops is None
    assert not hasattr(found, "goal")


def test_progress_is_told() -> None:
    events: list[Any] = []
    bench(notify=events.append).progress(2, 5, loss=0.5)
    assert events == [{"phase": "prune", "done": 2, "total": 5, "loss": 0.5}]


def kept(proposal: Any) -> int:
    return sum(int(m.sum()) for m in proposal.masks.values())


def scores(found: Workbench) -> dict[str, Tensor]:
    return {n: w.abs() for n, w in found.prunable.items()}


TOTAL = 27 + 144


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.999, 1.0])
def test_a_sparsity_is_met_exactly(scope: str, sparsity: float) -> None:
    found = bench(Target("sparsity", sparsity))
    proposal = found.keep_highest(scores(found), scope, rounds=3.0)
    assert kept(proposal) == TOTAL - math.ceil(Fraction(str(sparsity)) * TOTAL)
    assert proposal.measurements == {"rounds": 3.0}
    if scope == "layer":
        assert [int(m.sum()) for m in proposal.masks.values()] == pytest.approx(
            [27 * (1 - sparsity), 144 * (1 - sparsity)], abs=1
        )


def test_without_a_target_everything_stays() -> None:
    found = bench(Target("none"))
    assert kept(found.keep_highest(scores(found))) == TOTAL


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_a_share_of_parameters_is_not_exceeded_and_one_more_would(share: float) -> None:
    found = bench(Target("parameters", share))
    parameters = sum(p.numel() for p in found.model.parameters())
    left = kept(found.keep_highest(scores(found))) + parameters - TOTAL
    assert left <= Fraction(str(share)) * parameters
    assert left == parameters or left + 1 > Fraction(str(share)) * parameters


def test_a_share_of_parameters_that_cannot_be_is_told() -> None:
    found = bench(Target("parameters", 0.01))
    with pytest.raises(BenchError, match=r"parameters=0\.01 is out of reach: 0\.0656 of them are not prunable"):
        found.keep_highest(scores(found))


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_a_share_of_synops_is_not_exceeded_and_one_more_weight_would(scope: str, share: float) -> None:
    found = bench(Target("synops", share, "effective"))
    ceiling = share * found.synops("effective")
    masks = found.keep_highest(scores(found), scope).masks
    assert found.synops("effective", masks) <= ceiling
    number = sum(int(m.sum()) for m in masks.values())
    if number < TOTAL:
        wider = {"global": keep_globally, "layer": keep_by_layer}[scope](scores(found), number + 1)
        assert found.synops("effective", wider) > ceiling


def test_an_allocation_stands_in_place_of_scope_and_target() -> None:
    found = bench(Target("sparsity", 0.9))
    assert [int(m.sum()) for m in found.keep_highest(scores(found), allocation=(5, 144)).masks.values()] == [5, 144]


def test_scores_are_compared_in_the_models_order_not_their_own() -> None:
    found = bench()
    tied = {n: torch.ones_like(w) for n, w in reversed(found.prunable.items())}
    masks = found.keep_highest(tied).masks
    assert bool(masks["conv.weight"].all())


def test_what_the_scores_lack_is_told() -> None:
    found = bench()
    with pytest.raises(ContractError, match=r"it gave no scores for conv\.weight"):
        found.keep_highest({"fc.weight": torch.ones(CLASSES, 3 * SIDE * SIDE)})
    with pytest.raises(ContractError, match=r"scores of fc\.weight are not all finite"):
        found.keep_highest({n: w / 0 if n == "fc.weight" else w for n, w in scores(found).items()})
    with pytest.raises(ContractError, match=r"scope 'globl' \(did you mean 'global'\?\)"):
        found.keep_highest(scores(found), "globl")


def test_what_is_prunable_cannot_learn_but_is_the_networks_own() -> None:
    found = bench(patterns=["fc*"])
    (weight,) = found.prunable.values()
    assert not weight.requires_grad
    assert weight.data_ptr() == networks.prunable(found.model, ["fc*"])["fc.weight"].data_ptr()


def test_a_copy_is_apart() -> None:
    found = bench()
    other = found.copy_model()
    with torch.no_grad():
        other.fc.weight.zero_()
    assert bool(found.model.fc.weight.any())
