"""What a pruner is lent: a working copy, training and validation data, gradients, candidate evaluation, trials."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synobench import machine, seeds
from synobench.cost import Meter
from synobench.errors import BenchError, ContractError, nearest
from synobench.feed import Batch, Feed
from synobench.gradients import SampleGradients
from synobench.gradients.collect import collect
from synobench.gradients.plan import Ask, draw, groups
from synobench.gradients.ways import Problem
from synobench.networks import evaluating, logits, prunable
from synobench.selection import Masks, keep_allocated, keep_by_layer, keep_globally, kept_at_sparsity
from synobench.surgery import Proposal, checked_mask
from synobench.tensors import Tree

SYNOPS_SAMPLES = 512
"""Images of the validation split over which a candidate's SynOps are measured."""


@dataclass(frozen=True)
class Target:
    """What a pruner aims at.

    Args:
        name: ``sparsity`` (share of the prunable weights removed), ``parameters`` (share of all parameters left),
            ``synops`` (share of the dense network's SynOps left) or ``none``.
        value: that share; None for ``none``.
        counter: the SynOps counter meant.
    """

    name: str
    value: float | None = None
    counter: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """A candidate's accuracy in [0, 1] and, where asked for, its SynOps a sample."""

    accuracy: float
    synops: float | None


Make = Callable[[], SampleGradients]
"""What computes gradients."""


def _unshared(_model: nn.Module, _ask: Mapping[str, Any], make: Make, _sealed: bool) -> SampleGradients:
    return make()


@dataclass
class Tools:
    """What the engine hands a workbench: everything that the methods below need and plugins do not."""

    feed: Feed
    validation: Feed
    seed: int
    batch: int
    patterns: list[str]
    meter: Meter
    count: Callable[[nn.Module, Iterator[Batch], str], float]
    tune: Callable[[nn.Module, int, int, Mapping[str, Tensor]], None]
    once: Callable[[str, Callable[[], Tree]], Tree]
    notify: Callable[[Mapping[str, Any]], None]
    share: Callable[[nn.Module, Mapping[str, Any], Make, bool], SampleGradients] = _unshared


@dataclass
class Workbench:
    """The bench as a pruner sees it. `model` is a working copy: only the returned Proposal counts.

    Args:
        model: the network, with its weights as they stand when the pruner is called.
        state: a mapping of tensors and plain data that lives as long as the run and is saved with its checkpoints.
    """

    model: nn.Module
    tools: Tools
    _goal: Target
    state: dict[str, Any] = field(default_factory=dict)
    _sealed: bool = False

    @property
    def target(self) -> Target:
        """What to aim at.

        Raises:
            ContractError: asked for inside `once`, whose result must not depend on it.
        """
        if self._sealed:
            raise ContractError("the target was read inside once(), whose result is shared by all targets")
        return self._goal

    @property
    def prunable(self) -> dict[str, Tensor]:
        """The weights that may be masked, by name in the model's order, detached."""
        return {name: weight.detach() for name, weight in prunable(self.model, self.tools.patterns).items()}

    def generator(self, purpose: str = "prune") -> torch.Generator:
        """Return a CPU generator seeded from the run's seed and `purpose` alone."""
        return seeds.generator(self.tools.seed, f"pruner/{purpose}")

    def calibration(self, batches: int | None = None, size: int | None = None) -> Iterator[Batch]:
        """Go through seeded batches of the training split, without augmentation; `batches` of them, or one pass."""
        order = torch.randperm(len(self.tools.feed), generator=self.generator("calibration"))
        size = size or self.tools.batch
        chosen = order if batches is None else order[: batches * size]
        return self.tools.feed.batches(size, chosen)

    def validation(self, half: int | None = None, limit: int | None = None) -> Iterator[Batch]:
        """Go through the validation split, or one of its halves (0: even places, 1: odd places)."""
        places = torch.arange(len(self.tools.validation))
        chosen = places if half is None else places[half::2]
        return self.tools.validation.batches(256, chosen[:limit])

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of a batch (of the time-averaged output, for spiking networks)."""
        inputs, labels = batch
        return F.cross_entropy(logits(self.model, inputs), labels)

    def mean_gradients(self, batches: int | None = None) -> dict[str, Tensor]:
        """Return the gradient of the mean loss over calibration batches, dense, for each prunable weight.

        The network is in evaluation mode meanwhile, and no ``.grad`` is touched.
        """
        weights = prunable(self.model, self.tools.patterns)
        sums = {name: torch.zeros_like(w) for name, w in weights.items()}
        seen = 0
        with evaluating(self.model):
            for batch in self.calibration(batches):
                size = batch[1].numel()
                found = torch.autograd.grad(self.loss(batch) * size, list(weights.values()))
                for name, gradient in zip(sums, found, strict=True):
                    sums[name] += gradient
                seen += size
        return {name: total / seen for name, total in sums.items()}

    def sample_gradients(
        self,
        samples: int = 1000,
        size: int = 1,
        salt: int = 0,
        names: Sequence[str] = (),
        screen: float = 1.0,
        total: bool = True,
        memory: int | None = None,
        kept: bool = True,
    ) -> SampleGradients:
        """Return the gradients of the cross-entropy image by image, with respect to the prunable weights, weight-major.

        The images are drawn from the training split, without augmentation; the network is in evaluation mode
        meanwhile, and no ``.grad`` is touched. At the parent's own weights the result is made once for all targets and
        all pruners of that parent and seed, and its cost charged in full to each record that stands on it.

        Args:
            samples: images drawn.
            size: images a row: with more than one, a row is the gradient of their mean loss.
            salt: tells draws of one run apart; a stage's number gives it fresh images.
            names: the tensors wanted; empty: all prunable ones.
            screen: the share of the trace of the empirical Fisher to reach, by images of the largest softmax residual;
                1 takes every row.
            total: whether the sum over all images is wanted where rows are screened away: it takes their passes too.
            memory: bytes that it may need; None: half of the machine's.
            kept: whether they are shared with other runs, on disk; False: made for this call, and let go after it.

        Raises:
            BenchError: there are not as many images, they do not make whole rows, or more memory is needed.
            ContractError: a name is not that of a prunable weight.
        """
        weights = prunable(self.model, self.tools.patterns)
        for name in names:
            if name not in weights:
                raise ContractError(f"it asked for gradients of {name!r}, no prunable weight{nearest(name, weights)}")
        ask = Ask(samples, size, salt, tuple(name for name in weights if name in names), screen, total)
        drawn = draw(self.tools.feed, samples, self.generator(f"sample gradients/{salt}"))
        wanted = {name: weights[name] for name in ask.names or weights}

        def make() -> SampleGradients:
            with evaluating(self.model):
                return collect(Problem(self.model, wanted, size), self.tools.feed, drawn, ask, bound=memory)

        return self.tools.share(self.model, dataclasses.asdict(ask), make, self._sealed) if kept else make()

    def gradient_groups(self, rows: int, memory: int | None = None) -> list[tuple[str, ...]]:
        """Split the prunable tensors, in order, into runs whose gradients fit the memory, to be asked for by name.

        Args:
            rows: of gradients.
            memory: bytes; None: half of the machine's.

        Returns:
            names of tensors, a group each; one group where all fit. A tensor too large for any has one of its own.
        """
        bound = machine.memory(self.tools.feed.device) // 2 if memory is None else memory
        return groups({name: weight.numel() for name, weight in self.prunable.items()}, rows, bound)

    def evaluate(self, masks: Mapping[str, Tensor] | None = None, half: int | None = 0) -> Evaluation:
        """Measure a candidate on validation data, its weights masked for the while.

        SynOps are those of the target's counter, over the first images of that half; None without such a target, and
        inside `once`, which knows of no target.
        """
        counter = None if self._sealed else self._goal.counter
        self.tools.meter.count(trials=1)
        with self._masked(masks or {}), evaluating(self.model), torch.no_grad():
            hits = seen = 0
            for inputs, labels in self.validation(half):
                hits += int((logits(self.model, inputs).argmax(1) == labels).sum())
                seen += labels.numel()
            synops = None if counter is None else self.synops(counter, half=half)
        return Evaluation(hits / seen, synops)

    def synops(self, counter: str, masks: Mapping[str, Tensor] | None = None, half: int | None = 0) -> float:
        """Return the SynOps a sample by a counter's headline figure, with weights masked for the while."""
        with self._masked(masks or {}), evaluating(self.model), torch.no_grad():
            return self.tools.count(self.model, self.validation(half, SYNOPS_SAMPLES), counter)

    @contextmanager
    def _masked(self, masks: Mapping[str, Tensor]) -> Iterator[None]:
        weights = self.prunable
        checked = {name: checked_mask(name, mask, weights) for name, mask in masks.items()}
        kept = {name: weights[name].clone() for name in checked}
        try:
            for name, mask in checked.items():
                weights[name].mul_(mask)
            yield
        finally:
            for name, value in kept.items():
                weights[name].copy_(value)

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Try something on the network; its weights and buffers come back at the end, as does each module's mode."""
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.tools.meter.count(trials=1)
        try:
            with evaluating(self.model):
                yield
        finally:
            self.model.load_state_dict(before)

    def fine_tune(self, epochs: int, masks: Mapping[str, Tensor] | None = None, salt: int = 0) -> None:
        """Train the working copy with the run's fine-tuning rule; removed weights stay at zero. Its cost is charged."""
        self.tools.tune(self.model, epochs, salt, masks or {})

    def once(self, name: str, make: Callable[[], Tree]) -> Tree:
        """Return a result that does not depend on the target, made once for all targets of this run's family.

        It survives a kill, and its cost is charged in full to each record that stands on it.

        Raises:
            ContractError: `make` read the target.
        """

        def sealed() -> Tree:
            before, self._sealed = self._sealed, True
            try:
                return make()
            finally:
                self._sealed = before

        return self.tools.once(name, sealed)

    def progress(self, done: int, total: int, **figures: float) -> None:
        """Tell whoever watches how far the pruner is."""
        self.tools.notify({"phase": "prune", "done": done, "total": total, **figures})

    def copy_model(self) -> nn.Module:
        """Return one more copy of the network, for methods that compare two."""
        return copy.deepcopy(self.model)

    def keep_highest(
        self,
        scores: Mapping[str, Tensor],
        scope: str = "global",
        allocation: Sequence[int] = (),
        **measurements: float,
    ) -> Proposal:
        """Turn scores into a Proposal that meets the target.

        Args:
            scores: for each prunable weight, finite scores of its shape.
            scope: ``global`` compares over all tensors, ``layer`` keeps the same share of each.
            allocation: how many weights each tensor keeps, in the model's order; then scope and target say nothing.
            measurements: figures of the method's own for the record.

        Raises:
            ContractError: scores miss a weight or are not finite, the scope is unknown, or the allocation does not fit.
            BenchError: the target is out of reach.
        """
        missing = [name for name in self.prunable if name not in scores]
        if missing:
            raise ContractError(f"it gave no scores for {', '.join(missing)}")
        scopes: dict[str, Callable[[Mapping[str, Tensor], int], Masks]]
        scopes = {"global": keep_globally, "layer": keep_by_layer}
        if scope not in scopes:
            raise ContractError(f"it asked for scope {scope!r}{nearest(scope, scopes)}")
        choose = scopes[scope]
        ordered = {name: scores[name] for name in self.prunable}
        if allocation:
            return Proposal(keep_allocated(ordered, allocation), measurements=measurements)
        return Proposal(choose(ordered, self._kept(lambda kept: choose(ordered, kept))), measurements=measurements)

    def _kept(self, masks_at: Callable[[int], Masks]) -> int:
        total = sum(w.numel() for w in self.prunable.values())
        goal = self.target
        if goal.name == "none" or goal.value is None:
            return total
        if goal.name == "sparsity":
            return kept_at_sparsity(total, goal.value)
        if goal.name == "parameters":
            return self._kept_of_parameters(total, goal.value)
        return self._kept_at_synops(total, goal, masks_at)

    def _kept_of_parameters(self, total: int, share: float) -> int:
        everything = sum(p.numel() for p in self.model.parameters())
        kept = int(Fraction(str(share)) * everything) - (everything - total)
        if kept < 0:
            least = (everything - total) / everything
            raise BenchError(f"parameters={share:g} is out of reach: {least:.4f} of them are not prunable")
        return min(kept, total)

    def _kept_at_synops(self, total: int, goal: Target, masks_at: Callable[[int], Masks]) -> int:
        """Bisect the number of kept weights: the most whose SynOps, measured on the masked network, meet the share."""
        counter = str(goal.counter)
        ceiling = float(goal.value or 0) * self.synops(counter)
        low, high = 0, total
        while low < high:
            middle = (low + high + 1) // 2
            if self.synops(counter, masks_at(middle)) <= ceiling:
                low = middle
            else:
                high = middle - 1
        return low
