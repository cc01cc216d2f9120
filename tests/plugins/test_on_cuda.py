"""What is done otherwise on a CUDA device (skipped without one): recorded steps, float32 in full."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synobench import engine
from synobench.cost import Meter
from synobench.feed import Feed
from synobench.rules import Session
from synobench.stages.captured import Captured
from synobench_models.ordinary import mlp, vgg5
from synobench_models.params import MLP, VGG5
from synobench_predictive_coding import PredictiveCoding
from synobench_predictive_coding.inference import half_square
from synobench_predictive_coding.rule import PredictiveCodingRule

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def test_a_recorded_function_is_the_function_and_moves_nothing_by_being_recorded() -> None:
    moved = torch.zeros((), device="cuda")

    def step(x: Tensor) -> Tensor:
        moved.add_(1)
        return (x * 2).sum() + moved

    quick = Captured(step, lambda: [moved])
    for count, value in enumerate([1.0, 5.0, 2.0], start=1):
        assert float(quick(torch.full((3,), value, device="cuda"))) == 6 * value + count
    assert float(moved) == 3


def trained(kind: str, device: str, **told: Any) -> tuple[list[Tensor], dict[str, int]]:
    """Return weights after two epochs whose last batch is smaller, and the passes that were counted."""
    torch.manual_seed(0)
    shape = (1, 8, 8) if kind == "mlp" else (1, 16, 16)
    model: nn.Module = mlp(MLP((12, 9)), shape, 4) if kind == "mlp" else vgg5(VGG5((3, 4, 4, 5)), shape, 4)
    draws = np.random.default_rng(0)
    pixels = draws.integers(0, 256, (22, *shape), dtype=np.uint8)
    feed = Feed(pixels, draws.integers(0, 4, 22), [0.5], [0.5], device)
    meter = Meter(device)
    session = Session(model.double().to(device), feed, "train", 2, 8, 0, meter=meter)
    session.feed.take = lambda index, take=feed.take: (take(index)[0].double(), take(index)[1])  # type: ignore[method-assign]
    rule = PredictiveCodingRule(PredictiveCoding(steps=5, **told))
    rule.begin(session)
    with meter.phase("train"):
        for epoch in range(2):
            for _ in rule.epoch(session, epoch):
                pass
    spent = meter.as_dict()["train"]
    return [p.detach().cpu() for p in model.parameters()], {way: spent[way] for way in ("forward", "backward")}


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("told", [{}, {"energy": "off", "guard": False}, {"energy": "off", "solver": "error"}], ids=str)
def test_the_rule_learns_the_same_on_both_devices(kind: str, told: dict[str, Any]) -> None:
    here, there = trained(kind, "cpu", **told), trained(kind, "cuda", **told)
    assert max(float((a - b).abs().max()) for a, b in zip(here[0], there[0], strict=True)) < 1e-10
    assert here[1] == there[1]


WAYS: list[dict[str, Any]] = [
    {"energy": "off"},
    {"energy": "off", "wavefront": False},
    {"energy": "centred"},
    {"energy": "off", "lalr": False, "optimizer": "adamw", "rate": 0.001, "warmup": 1.0},
    {"energy": "off", "solver": "error"},
]


@pytest.mark.filterwarnings("ignore:This instance was constructed with capturable")
@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("told", WAYS, ids=str)
def test_a_recorded_step_is_the_step(kind: str, told: dict[str, Any]) -> None:
    plain, quick = (trained(kind, "cuda", compile=quick, guard=False, **told) for quick in (False, True))
    # The rate of a recorded step is in single precision.
    assert max(float((a - b).abs().max()) for a, b in zip(plain[0], quick[0], strict=True)) < 1e-8
    assert plain[1] == quick[1]


def test_float32_is_not_rounded_to_ten_bits() -> None:
    engine._in_full()
    x, w = torch.randn(8, 16, 16, 16), torch.randn(32, 16, 3, 3)
    right = nn.functional.conv2d(x.double(), w.double())
    found = nn.functional.conv2d(x.cuda(), w.cuda()).cpu()
    assert float((found - right).norm() / right.norm()) < 1e-6


def test_half_a_square_is_the_same_read_at_once() -> None:
    errors = [torch.randn(5, 3), torch.randn(2, 4, 3, 3).contiguous(memory_format=torch.channels_last)]
    assert half_square([e.cuda() for e in errors]) == pytest.approx(half_square(errors), rel=1e-6)
