"""A phase of training under the bench's hand: masks, curves, checkpoints, what is not finite."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from synobench import PrunerEntry
from synobench.cost import Meter
from synobench.errors import ContractError
from synobench.feed import Feed
from synobench.rules import Progress, Session
from synobench.surgery import Proposal, Referee
from synobench.training import Phase, accuracy_on, judged, ranks


class Descent:
    """Gradient descent with momentum of its own, drawing noise from the global generator and from its lent one."""

    def begin(self, session: Session) -> None:
        self.momentum = [torch.zeros_like(p) for p in session.model.parameters()]

    def epoch(self, session: Session, epoch: int) -> Iterator[Progress]:
        session.model.train()
        draws = session.generator("noise", epoch)
        for inputs, labels in session.batches(epoch):
            noisy = inputs + 0.1 * torch.rand(inputs.shape, generator=draws) + 0.1 * torch.rand(inputs.shape)
            loss = F.cross_entropy(session.model(noisy), labels)
            gradients = torch.autograd.grad(loss, list(session.model.parameters()))
            with torch.no_grad():
                for p, m, g in zip(session.model.parameters(), self.momentum, gradients, strict=True):
                    m.mul_(0.9).add_(g)
                    p.sub_(0.1 * m)
            yield Progress(loss.detach(), labels.numel())

    def state(self) -> Any:
        return {"momentum": [m.clone() for m in self.momentum]}

    def restore(self, state: Any) -> None:
        self.momentum = [m.clone() for m in state["momentum"]]


class Told(Descent):
    """Tells losses that were made up."""

    def __init__(self, *losses: float) -> None:
        self.losses = losses

    def epoch(self, session: Session, epoch: int) -> Iterator[Progress]:
        for loss, samples in zip(self.losses, (10, 5), strict=False):
            yield Progress(torch.tensor(loss), samples)


def feed(count: int = 30, seed: int = 0) -> Feed:
    draws = np.random.RandomState(seed)
    images = draws.randint(0, 256, (count, 1, 3, 3)).astype(np.uint8)
    return Feed(images, draws.randint(0, 4, count), [0.5], [0.25])


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.ReLU(), nn.Linear(6, 4))


def phase(model: nn.Module, rule: Any = None, epochs: int = 4, **more: Any) -> Phase:
    session = Session(model=model, feed=feed(), phase="train", epochs=epochs, batch=7, seed=3)
    return Phase(session=session, rule=rule or Descent(), meter=Meter(), validation=feed(12, 1), **more)


def values(model: nn.Module) -> list[Tensor]:
    return [v.clone() for v in model.state_dict().values()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_a_phase_resumed_at_an_epoch_is_the_uninterrupted_one_to_the_bit(cut: int) -> None:
    saved: list[Any] = []
    model = net()
    whole = phase(model, saved=lambda tree: saved.append(copy.deepcopy(tree)))
    whole.run()
    assert [tree["epoch"] for tree in saved] == [0, 1, 2, 3]
    other = net()
    torch.rand(5)
    resumed = phase(other)
    resumed.run(saved[cut])
    assert same(values(other), values(model))
    assert resumed.curve == whole.curve
    assert len(whole.curve) == 4


def test_what_is_saved_is_not_what_goes_on_training() -> None:
    saved: list[Any] = []
    model = net()
    before = values(model)
    phase(model, epochs=2, saved=saved.append).run()
    assert same(list(saved[0]["model"].values()), before)
    assert saved[0]["curve"] == []
    assert len(saved[1]["curve"]) == 1


def test_one_seed_gives_one_training_and_another_another() -> None:
    made = []
    for _ in range(2):
        torch.rand(3)
        model = net()
        phase(model).run()
        made.append(values(model))
    assert same(*made)
    other = net()
    run = phase(other)
    run.session.seed = 4
    run.run()
    assert not same(values(other), made[0])


def test_removed_weights_are_zero_after_every_update_under_momentum() -> None:
    model, seen = net(), []
    referee = Referee(model, ["*"])
    mask = torch.rand(6, 9) < 0.5
    referee.apply(Proposal({"1.weight": mask}), PrunerEntry("p", summary="s"))

    def look(i: int) -> None:
        seen.append(i)
        referee.verify()
        assert not bool(model[1].weight[~mask].any())

    phase(model, referee=referee, after_update=look, epochs=2).run()
    assert seen == list(range(1, 11))
    assert bool(model[1].weight[mask].all())


def test_without_the_referee_they_would_not_be() -> None:
    model = net()
    with torch.no_grad():
        model[1].weight.zero_()
    phase(model, epochs=1).run()
    assert bool(model[1].weight.any())


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_a_clear_failure(loss: float) -> None:
    run = phase(net(), Told(1.0, loss))
    with pytest.raises(ContractError, match="the loss of epoch 1 is not finite"):
        run.run()
    assert run.curve == []


def test_the_curve_holds_the_mean_loss_over_samples_and_the_validation_accuracy() -> None:
    model = net()
    run = phase(model, Told(1.0, 4.0), epochs=2)
    run.run()
    accuracy = accuracy_on(model, feed(12, 1))
    assert run.curve == [{"epoch": e, "loss": pytest.approx(2.0), "validation": accuracy} for e in (1, 2)]


def test_looking_at_validation_data_is_not_charged_and_may_be_left_out() -> None:
    run = phase(net(), epochs=2)
    with run.meter.watch(run.session.model):
        run.run()
    assert run.meter.as_dict()["train"]["forward"] == 10
    blind = phase(net(), epochs=1)
    blind.validation = None
    blind.run()
    assert set(blind.curve[0]) == {"epoch", "loss"}


def test_the_cost_goes_where_it_is_charged() -> None:
    run = phase(net(), epochs=1, charged="prune")
    with run.meter.watch(run.session.model):
        run.run()
    told = run.meter.as_dict()
    assert (told["prune"]["forward"], told["train"]["forward"]) == (5, 0)


def test_no_epochs_change_nothing() -> None:
    model = net()
    before = values(model)
    run = phase(model, epochs=0, saved=lambda _: None)
    run.run()
    assert same(values(model), before)
    assert run.curve == []


def test_progress_is_told_in_updates_but_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Any] = []
    run = phase(net(), epochs=2, notify=events.append)
    run.run()
    assert events[0] == {"phase": "train", "done": 1, "total": 10}
    assert len(events) < 10


@given(
    st.lists(st.lists(st.sampled_from([0.0, 1.0, 2.0, -1.0]), min_size=4, max_size=4), min_size=1, max_size=5),
    st.data(),
)
def test_ranks_count_the_classes_before_the_right_one(rows: list[list[float]], data: st.DataObject) -> None:
    labels = [data.draw(st.integers(0, 3)) for _ in rows]
    told = ranks(torch.tensor(rows), torch.tensor(labels)).tolist()
    for row, label, rank in zip(rows, labels, told, strict=True):
        order = sorted(range(4), key=lambda c: (-row[c], c))
        assert rank == order.index(label)
    assert (ranks(torch.tensor(rows), torch.tensor(labels)) < 1).tolist() == [
        int(torch.tensor(r).argmax()) == n or rank == 0 for r, n, rank in zip(rows, labels, told, strict=True)
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_output_that_is_not_finite_is_never_a_hit_however_few_the_classes(value: float, place: int) -> None:
    outputs = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    outputs[0, place] = value
    told = ranks(outputs, torch.tensor([2, 2])).tolist()
    assert told[0] >= 5
    assert told[1] == 0


class Fixed(nn.Module):
    """Answers by the image's first pixel."""

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        return self.make(x[:, 0, 0, 0])


@pytest.mark.parametrize("steps", [0, 3])
def test_judging_goes_in_file_order_and_averages_over_time(steps: int) -> None:
    images = np.zeros((10, 1, 1, 1), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(10)
    shown = Feed(images, np.arange(10), [0.0], [1 / 255])

    def answer(pixel: Tensor) -> Tensor:
        out = F.one_hot(torch.where(pixel.long() < 6, pixel.long(), 0), 10).float()
        return out.expand(steps, *out.shape) if steps else out

    model = Fixed(answer)
    found = torch.cat(list(judged(model, shown, size=4)))
    assert (found == 0).tolist() == [True] * 6 + [False] * 4
    assert accuracy_on(model, shown) == 0.6
    assert model.training
