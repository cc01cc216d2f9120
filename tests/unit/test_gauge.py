"""What the bench measures of any training: update norms by depth, looks in the first epoch, and what a rule adds."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from synobench import PrunerEntry
from synobench.cost import Meter
from synobench.errors import ContractError
from synobench.feed import Feed
from synobench.gauge import EPOCHS, TENSORS, Gauge, spread
from synobench.rules import Progress, Session
from synobench.surgery import Proposal, Referee
from synobench.training import Phase


class Scaling:
    """Multiplies the weights of layer l by 1 + l / 10 in each update, without the network being called at all."""

    def begin(self, session: Session) -> None:
        self.told: dict[str, Any] = {"by": ["x"], "at": [], "values": []}

    def epoch(self, session: Session, epoch: int) -> Iterator[Progress]:
        for i, (_, labels) in enumerate(session.batches(epoch), start=1):
            with torch.no_grad():
                for depth, layer in enumerate(linear(session.model), start=1):
                    layer.weight.mul_(1 + depth / 10)
            if i == 1:
                self.told["at"].append(epoch * session.updates + 1)
                self.told["values"].append([math.inf if epoch else 1 / 3])
            yield Progress(torch.tensor(1.0), labels.numel())

    def measurements(self) -> dict[str, Any]:
        return {"energy": self.told, "steps": 8}

    def state(self) -> Any:
        return {"told": copy.deepcopy(self.told)}

    def restore(self, state: Any) -> None:
        self.told = copy.deepcopy(state["told"])


class Descent(Scaling):
    """Gradient descent through the whole network."""

    def epoch(self, session: Session, epoch: int) -> Iterator[Progress]:
        for inputs, labels in session.batches(epoch):
            loss = F.cross_entropy(session.model(inputs), labels)
            gradients = torch.autograd.grad(loss, list(session.model.parameters()))
            with torch.no_grad():
                for p, g in zip(session.model.parameters(), gradients, strict=True):
                    p.sub_(0.1 * g)
            yield Progress(loss.detach(), labels.numel())


def linear(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def feed(count: int, seed: int = 0) -> Feed:
    draws = np.random.RandomState(seed)
    images = draws.randint(0, 256, (count, 1, 3, 3)).astype(np.uint8)
    return Feed(images, draws.randint(0, 4, count), [0.5], [0.25])


def net(layers: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), *(nn.Linear(9, 9) for _ in range(layers)))


def phase(model: nn.Module, rule: Any, epochs: int = 3, **more: Any) -> Phase:
    session = Session(model=model, feed=feed(96), phase="train", epochs=epochs, batch=6, seed=3)
    gauge = more.pop("gauge", None) or Gauge(["*"])
    return Phase(session=session, rule=rule, meter=Meter(), validation=feed(40, 1), gauge=gauge, **more)


def told(run: Phase) -> dict[str, Any]:
    assert run.gauge is not None
    return run.gauge.told(run.session.model, run.rule)


def test_update_norms_are_those_of_the_first_update_of_each_epoch() -> None:
    run = phase(net(), Scaling())
    run.run()
    found = told(run)
    assert found["train/update-norm"] == {
        "by": ["1.weight", "2.weight"],
        "at": [0, 16, 32],
        "values": [[pytest.approx(0.1, rel=1e-4), pytest.approx(0.2, rel=1e-4)]] * 3,
    }
    assert found["train/largest-update"] == found["train/update-norm"]["values"][0][1]


def test_they_are_taken_once_removed_weights_are_zero_and_before_a_pruner_acts() -> None:
    model = net()
    mask = torch.zeros(9, 9, dtype=torch.bool)
    mask[0] = True
    referee = Referee(model, ["*"])
    referee.apply(Proposal({"1.weight": mask}), PrunerEntry("p", summary="s"))

    class Growing(Scaling):
        def epoch(self, session: Session, epoch: int) -> Iterator[Progress]:
            for progress in super().epoch(session, epoch):
                with torch.no_grad():
                    linear(session.model)[0].weight[5] += 100.0
                yield progress

    def act(_: int) -> None:
        with torch.no_grad():
            linear(model)[1].weight.mul_(50.0)

    run = phase(model, Growing(), epochs=1, referee=referee, after_update=act)
    run.run()
    assert told(run)["train/update-norm"]["values"] == [[pytest.approx(0.1, rel=1e-4), pytest.approx(0.2, rel=1e-4)]]


def test_of_many_epochs_and_tensors_a_few_are_spread_evenly_with_both_ends() -> None:
    run = phase(net(60), Scaling(), epochs=20)
    run.run()
    norms = told(run)["train/update-norm"]
    assert len(norms["at"]) == EPOCHS
    assert (norms["at"][0], norms["at"][-1]) == (0, 19 * 16)
    assert len(norms["by"]) == TENSORS
    assert (norms["by"][0], norms["by"][-1]) == ("1.weight", "60.weight")
    assert spread(3, 8) == [0, 1, 2]
    assert spread(9, 3) == [0, 4, 8]


def test_validation_is_looked_at_within_the_first_epoch_and_no_phase_pays() -> None:
    run = phase(net(), Descent())
    with run.meter.watch(run.session.model):
        run.run()
    looks = told(run)["train/validation"]
    assert looks["at"] == [1, 2, 4, 8, 16]
    assert [samples for samples, _ in looks["values"]] == [6, 12, 24, 48, 96]
    assert looks["values"][-1][1] == pytest.approx(run.curve[0]["validation"], rel=1e-4)
    cost = run.meter.as_dict()["train"]
    assert (cost["forward"], cost["samples"]) == (48, 288)


def test_measuring_changes_no_bit_of_the_training() -> None:
    models = net(), net()
    phase(models[0], Descent()).run()
    other = phase(models[1], Descent())
    other.gauge = None
    other.run()
    pairs = zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_samples_are_counted_once_whether_or_not_the_network_is_called_as_a_whole() -> None:
    for rule, forward in ((Descent(), 48), (Scaling(), 0)):
        run = phase(net(), rule)
        with run.meter.watch(run.session.model):
            run.run()
        cost = run.meter.as_dict()["train"]
        assert (cost["samples"], cost["forward"]) == (288, forward)


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_measurements_survive_a_kill_at_any_epoch(cut: int) -> None:
    saved: list[Any] = []
    whole = phase(net(), Scaling(), saved=lambda tree: saved.append(copy.deepcopy(tree)))
    whole.run()
    resumed = phase(net(), Scaling())
    resumed.run(saved[cut])
    assert told(resumed) == told(whole)


def test_a_checkpoint_of_an_older_bench_leaves_a_gap() -> None:
    saved: list[Any] = []
    phase(net(), Scaling(), saved=lambda tree: saved.append(copy.deepcopy(tree))).run()
    del saved[1]["gauge"]
    resumed = phase(net(), Scaling())
    resumed.run(saved[1])
    assert told(resumed)["train/update-norm"]["at"] == [16, 32]
    assert "train/validation" not in told(resumed)


def test_what_a_rule_measures_stands_beside_it_with_null_for_what_is_not_finite() -> None:
    run = phase(net(), Scaling())
    run.run()
    energy = {"by": ["x"], "at": [1, 17, 33], "values": [[0.33333], [None], [None]]}
    assert told(run)["train/energy"] == energy
    assert told(run)["train/steps"] == 8


def test_an_update_that_is_not_finite_is_null_and_so_is_the_largest() -> None:
    class Exploding(Scaling):
        def epoch(self, session: Session, epoch: int) -> Iterator[Progress]:
            for progress in super().epoch(session, epoch):
                with torch.no_grad():
                    linear(session.model)[1].weight[0, 0] = math.inf
                yield progress

    run = phase(net(), Exploding(), epochs=1)
    run.run()
    assert told(run)["train/update-norm"]["values"] == [[pytest.approx(0.1, rel=1e-4), None]]
    assert told(run)["train/largest-update"] is None


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"energy": "low"}, "'train/energy' is neither a number nor a table"),
        ({"update-norm": 1.0}, "'update-norm' is one that the bench makes"),
        ({f"m{i}": 0.123456789 for i in range(900)}, "there is room for 7,168"),
    ],
)
def test_what_no_record_could_hold_fails_after_one_epoch(made: Any, words: str) -> None:
    class Wrong(Scaling):
        def measurements(self) -> Any:
            return made

    run = phase(net(), Wrong())
    with pytest.raises(ContractError, match=words):
        run.run()
    assert len(run.curve) == 1
