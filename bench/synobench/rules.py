"""What a training rule is, and what it is lent."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from synobench import seeds
from synobench.feed import Batch, Feed
from synobench.stages import Chain, stages_of
from synobench.tensors import Tree

if TYPE_CHECKING:
    from synobench.cost import Meter

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Progress:
    """What a rule yields after each update: the loss of its batch (a detached scalar) and the batch's size."""

    loss: Tensor
    samples: int


@dataclass
class Session:
    """One phase of training, as it is lent to a rule.

    Args:
        model: the network to train, in place. Removed weights are set to zero again after each yield.
        feed: the training split on the device.
        phase: ``train`` or ``tune``.
        epochs: the budget; the rule's schedule spans it.
        batch: samples an update.
        seed: of the run; drawn from only through `generator`.
        spiking: whether the network answers [T, N, classes].
        precision: float32, bfloat16 or float16 (mixed: weights stay float32).
        penalty: a pruner's term for the loss, where one asked for it and the rule's entry accepts it.
        network: the name of the model, for messages.
        meter: counts the passes that the links of `chain` are worth.
        enforce: sets removed weights to zero again, for a rule that updates them several times between two yields.
    """

    model: nn.Module
    feed: Feed
    phase: str
    epochs: int
    batch: int
    seed: int
    spiking: bool = False
    precision: str = "float32"
    penalty: Callable[[], Tensor] | None = None
    network: str = ""
    meter: Meter | None = None
    enforce: Callable[[], None] = lambda: None

    @functools.cached_property
    def chain(self) -> Chain:
        """The network as a chain of stages, with the products that local rules are made of.

        Raises:
            ContractError: the model shows no stages.
        """
        return Chain(stages_of(self.model, self.network), self.meter)

    @property
    def device(self) -> str:
        """Where the model and the feed are."""
        return self.feed.device

    @property
    def updates(self) -> int:
        """Updates an epoch."""
        return self.feed.count(self.batch)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Go once through the training split, in the order that the seed gives this epoch."""
        order = torch.randperm(len(self.feed), generator=self.generator("order", epoch))
        for batch in self.feed.batches(self.batch, order):
            yield batch
            if "chain" in vars(self):
                self.chain.settle()

    def generator(self, purpose: str, epoch: int = 0) -> torch.Generator:
        """Return a CPU generator for one purpose of this phase at one epoch."""
        return seeds.generator(self.seed, f"{self.phase}/{purpose}", epoch)

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which forward passes run at the session's precision."""
        kind = torch.device(self.device).type
        wanted = PRECISIONS[self.precision]
        return torch.autocast(kind, dtype=wanted, enabled=wanted is not torch.float32)


class Rule(Protocol):
    """A training rule: its optimiser and state are its own.

    The bench calls `begin` once, then `restore` where it resumes, then `epoch` for each epoch of the budget.  At each
    yield `state` is complete: a rule restored from it at an epoch's end goes on to the bit.
    """

    def begin(self, session: Session) -> None:
        """Set up the optimiser and state for a phase."""

    def epoch(self, session: Session, epoch: int) -> Iterator[Progress]:
        """Train for one epoch, counted from 0, yielding after each update of the weights."""

    def state(self) -> Tree:
        """Return everything that the next epoch depends on, but for the weights and buffers of the model."""

    def restore(self, state: Tree) -> None:
        """Take back what `state` returned."""
