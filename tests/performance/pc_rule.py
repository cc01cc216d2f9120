"""The rule `predictive-coding` as the bench runs it: one step is one turn of its ``epoch``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from pc_problem import BATCH, DEVICE, GAMMA, RATE, Array, Problem

from synobench.feed import Batch, Feed
from synobench.rules import Session
from synobench_models.ordinary import mlp, vgg5
from synobench_models.params import MLP, VGG5
from synobench_predictive_coding import PredictiveCoding
from synobench_predictive_coding.rule import PredictiveCodingRule

torch.backends.cudnn.allow_tf32 = False


class Endless(Session):
    """A session whose epoch never ends and gives one batch again and again."""

    held: Batch

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Give the batch."""
        for _ in itertools.count():
            yield self.held
            self.chain.settle()


class Rule:
    """The side; `told` are parameters of the rule."""

    def __init__(self, problem: Problem, **told: Any) -> None:
        shape = (1, 28, 28) if problem.net == "mlp" else (3, 32, 32)
        params: Any = MLP((300, 150)) if problem.net == "mlp" else VGG5((32, 64, 128, 128))
        self.model = (mlp if problem.net == "mlp" else vgg5)(params, shape, 10).to(DEVICE)
        self.first = [torch.from_numpy(a) for pair in problem.weights for a in pair]
        self._fill()
        pixels, labels = np.zeros((BATCH, *shape), np.uint8), problem.labels
        feed = Feed(pixels, labels, [0.0] * shape[0], [1.0] * shape[0], DEVICE)
        session = Endless(self.model, feed, "train", 1, BATCH, 0)
        held = torch.from_numpy(problem.inputs).view(BATCH, *shape), torch.from_numpy(labels)
        session.held = (held[0].to(DEVICE), held[1].to(DEVICE))
        alike: dict[str, Any] = {"energy": "off", "loss": "mse", "gamma": GAMMA, "steps": problem.sweeps}
        alike |= {"optimizer": "adamw", "rate": RATE, "decay": 0.0, "schedule": "constant", "lalr": False}
        rule = PredictiveCodingRule(PredictiveCoding(**alike, **told))
        rule.begin(session)
        self.steps = rule.epoch(session, 0)

    def _fill(self) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.model.parameters(), self.first, strict=True):
                parameter.copy_(value)

    def gradients(self) -> list[Array]:
        """Return those of the first weights, at the second update: the first one is measured, and never compiled."""
        next(self.steps)
        self._fill()
        next(self.steps)
        return [p.grad.cpu().numpy().copy() for p in self.model.parameters() if p.grad is not None]

    def run(self, steps: int) -> None:
        """Take steps."""
        for _ in range(steps):
            next(self.steps)


SIDES = {
    "rule": partial(Rule, guard=False, wavefront=False),
    "rule-wavefront": partial(Rule, guard=False),
    "rule-guarded": partial(Rule),
    "rule-compiled": partial(Rule, guard=False, wavefront=False, compile=True),
    "rule-compiled-wavefront": partial(Rule, guard=False, compile=True),
}
