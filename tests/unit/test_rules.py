"""What a rule is lent: an order, generators and a precision that come from the seed and the phase alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from synobench.feed import Feed
from synobench.protocol import PRECISIONS as NAMED
from synobench.rules import PRECISIONS, Session


def session(**more: Any) -> Session:
    feed = Feed(np.zeros((20, 1, 2, 2), dtype=np.uint8), np.arange(20), [0.0], [1.0])
    usual: dict[str, Any] = {
        "model": nn.Linear(4, 2),
        "feed": feed,
        "phase": "train",
        "epochs": 2,
        "batch": 6,
        "seed": 0,
    }
    return Session(**{**usual, **more})


def order(found: Session, epoch: int = 0) -> list[int]:
    return [int(label) for _, labels in found.batches(epoch) for label in labels]


def test_every_epoch_sees_every_image_in_an_order_of_its_own() -> None:
    orders = [order(session(), epoch) for epoch in range(3)]
    assert all(sorted(o) == list(range(20)) for o in orders)
    assert len({tuple(o) for o in orders}) == 3


def test_the_order_comes_from_seed_phase_and_epoch_alone() -> None:
    torch.rand(3)
    first = order(session())
    torch.manual_seed(5)
    assert order(session(model=nn.Linear(9, 9), epochs=7, penalty=lambda: torch.zeros(()))) == first
    assert order(session(seed=1)) != first
    assert order(session(phase="tune")) != first


def test_updates_are_the_batches_of_an_epoch() -> None:
    for batch in (1, 6, 19, 20, 21):
        found = session(batch=batch)
        assert len(list(found.batches(0))) == found.updates


def test_generators_are_told_apart_by_purpose_phase_and_epoch() -> None:
    told = [("a", 0, {}), ("b", 0, {}), ("a", 1, {}), ("a", 0, {"phase": "tune"}), ("a", 0, {"seed": 1})]
    drawn = [float(torch.rand((), generator=session(**m).generator(p, e))) for p, e, m in told]
    assert len(set(drawn)) == len(drawn)
    assert float(torch.rand((), generator=session().generator("a", 0))) == drawn[0]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_forward_passes_run_at_the_precision_and_weights_stay(precision: str) -> None:
    found = session(precision=precision)
    with found.autocast():
        out = found.model(torch.ones(1, 4))
    assert out.dtype == PRECISIONS[precision]
    assert found.model.weight.dtype == torch.float32


def test_a_suite_may_name_every_precision_there_is() -> None:
    assert tuple(PRECISIONS) == NAMED
