"""One phase of training under the bench's hand: seeds, masks, curves, a pruner's steps, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from synobench import seeds
from synobench.cost import Meter
from synobench.errors import ContractError
from synobench.feed import Feed
from synobench.gauge import Gauge
from synobench.networks import evaluating, logits
from synobench.rules import Rule, Session
from synobench.surgery import Referee
from synobench.tensors import Tree

NEVER = 2**31
"""The rank of what can never be a hit, however few classes there are."""

TOLD_SECONDS = 0.5
"""The least time between two notices of progress."""


@dataclass
class Phase:
    """A session and a rule, run epoch by epoch.

    Args:
        validation: looked at after each epoch, for the curve; None leaves that out.
        charged: the phase of the cost that it goes to; the session's own where it is empty.
        after_update: called with the number of updates done after each one, once removed weights are zero again.
        saved: called at an epoch's end with everything that the next one depends on.
        gauge: what measures the training; its time is charged to no phase.
    """

    session: Session
    rule: Rule
    meter: Meter
    validation: Feed | None
    referee: Referee | None = None
    notify: Callable[[Mapping[str, Any]], None] = lambda _: None
    charged: str = ""
    after_update: Callable[[int], None] | None = None
    saved: Callable[[Tree], None] | None = None
    gauge: Gauge | None = None
    curve: list[dict[str, float]] = field(default_factory=list)
    _told: float = 0.0

    def run(self, resumed: Tree | None = None) -> None:
        """Spend the session's whole budget, from the start or from what `saved` was last given.

        Raises:
            ContractError: the loss is not finite.
        """
        session = self.session
        if self.referee is not None:
            session.enforce = self.referee.enforce
        self.rule.begin(session)
        first = 0
        if resumed is not None:
            session.model.load_state_dict(resumed["model"])
            self.rule.restore(resumed["rule"])
            self.curve[:] = resumed["curve"]
            if self.gauge is not None and "gauge" in resumed:
                self.gauge.restore(resumed["gauge"])
            first = resumed["epoch"]
        elif self.saved is not None:
            self.saved(self.state(0))
        for epoch in range(first, session.epochs):
            self._epoch(epoch)
            if self.saved is not None and epoch + 1 < session.epochs:
                self.saved(self.state(epoch + 1))

    def state(self, epoch: int) -> Tree:
        """Return what a resumed run needs to go on at `epoch`."""
        model = {name: value.clone() for name, value in self.session.model.state_dict().items()}
        measured = {} if self.gauge is None else {"gauge": self.gauge.state()}
        return {"epoch": epoch, "model": model, "rule": self.rule.state(), "curve": list(self.curve), **measured}

    def _epoch(self, epoch: int) -> None:
        session = self.session
        if self.gauge is not None:
            self.gauge.hold(session, epoch)
        seeds.reseed(session.seed, session.phase, epoch)
        with self.meter.phase(self.charged or session.phase):
            loss = self._updates(epoch)
        # Outside of a phase: what the bench looks at for its curves is not the method's cost.
        seen = {} if self.validation is None else {"validation": accuracy_on(session.model, self.validation)}
        self.curve.append({"epoch": epoch + 1, "loss": loss, **seen})
        if self.gauge is not None:
            # A rule whose figures are no measurements shall hear of it after one epoch, not after all of them.
            self.gauge.told(session.model, self.rule)

    def _updates(self, epoch: int) -> float:
        session = self.session
        total, seen = torch.zeros((), dtype=torch.float64, device=session.device), 0
        counted = self.meter.samples
        for i, progress in enumerate(self.rule.epoch(session, epoch), start=1):
            if self.referee is not None:
                self.referee.enforce()
            if self.meter.samples == counted:
                # The rule went through the network layer by layer, where no hook on the whole sees it.
                self.meter.count(samples=progress.samples)
            total += progress.loss.double() * progress.samples
            seen += progress.samples
            self._weigh(epoch, i)
            if self.after_update is not None:
                self.after_update(epoch * session.updates + i)
            self._look(epoch, i, seen)
            counted = self.meter.samples
            self._tell(epoch, i)
        mean = float(total) / max(1, seen)
        if not torch.isfinite(total):
            raise ContractError(f"the loss of epoch {epoch + 1} is not finite: lower the rate, or clip what grows")
        return mean

    def _weigh(self, epoch: int, update: int) -> None:
        if self.gauge is not None and self.gauge.holding:
            with self.meter.aside():
                self.gauge.weigh(self.session, epoch * self.session.updates + update - 1)

    def _look(self, epoch: int, update: int, seen: int) -> None:
        if self.gauge is None or self.validation is None or not self.gauge.due(self.session, epoch, update):
            return
        with self.meter.aside():
            self.gauge.look(update, seen, accuracy_on(self.session.model, self.validation))

    def _tell(self, epoch: int, update: int) -> None:
        now = time.monotonic()
        if now - self._told >= TOLD_SECONDS:
            self._told = now
            session = self.session
            done, total = epoch * session.updates + update, session.epochs * session.updates
            self.notify({"phase": session.phase, "done": done, "total": total})


@torch.no_grad()
def accuracy_on(model: nn.Module, feed: Feed) -> float:
    """Return the share of a split that a network labels rightly."""
    hits = 0
    with evaluating(model):
        for inputs, labels in feed.batches(256):
            hits += int((logits(model, inputs).argmax(1) == labels).sum())
    return hits / len(feed)


@torch.no_grad()
def ranks(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return for each image how many classes stand before the right one; ties go to the lower class.

    An output that is not finite stands behind everything: it can never be a hit.
    """
    own = outputs.gather(1, labels.view(-1, 1))
    places = torch.arange(outputs.shape[1], device=outputs.device)
    ahead = (outputs > own) | ((outputs == own) & (places < labels.view(-1, 1)))
    broken = ~torch.isfinite(outputs).all(1)
    return torch.where(broken, NEVER, ahead.sum(1))


def judged(model: nn.Module, feed: Feed, size: int = 250) -> Iterator[Tensor]:
    """Yield, a batch at a time and in file order, the rank of the right class of each image."""
    with evaluating(model), torch.no_grad():
        for inputs, labels in feed.batches(size):
            yield ranks(logits(model, inputs).float(), labels).cpu()
