"""The rule `predictive-coding`, as described by ``synobench.rules.Rule``."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from synobench.augment import augmented
from synobench.errors import ContractError
from synobench.rules import Progress, Session
from synobench.stages import Trace
from synobench_predictive_coding import PredictiveCoding, errors, states, traced, zil
from synobench_predictive_coding.feedback import Feedback
from synobench_predictive_coding.inference import Inferred, Moved, Task
from synobench_predictive_coding.learning import Learning
from synobench_predictive_coding.measures import Measures
from synobench_predictive_coding.output import output_of
from synobench_predictive_coding.sweeps import Sweeps

Direct = Callable[[Tensor, Tensor], tuple[list[Tensor], list[Tensor], Tensor]]
"""From inputs and labels to gradients of the weights, those of backward weights, and the loss."""


class PredictiveCodingRule:
    """Feed forward, infer, move each stage's weights; once a batch."""

    def __init__(self, params: PredictiveCoding) -> None:
        self._params = params

    def begin(self, session: Session) -> None:
        """Set up the chain of stages, the optimisers and the backward maps.

        Raises:
            ContractError: the model shows no stages, or precision and solver do not go together.
        """
        asked, self._session = self._params, session
        self._check(session)
        self._chain = session.chain
        self._layout = torch.contiguous_format
        if any(isinstance(m, nn.Conv2d) for link in self._chain.links if link.closed for m in link.stage.modules):
            self._layout = torch.channels_last
            session.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        total, warmup = session.epochs * session.updates, round(asked.warmup * session.updates)
        recorded = asked.compile and torch.device(session.device).type == "cuda"
        self._learning = Learning(self._chain, asked, total, warmup, recorded=recorded)
        self._feedback = self._backward = None
        if asked.bidirectional:
            draws, tied = session.generator("backward weights"), asked.backward == "tied"
            centred, spiking = asked.energy == "centred", session.spiking
            self._feedback = Feedback(self._chain, draws, tied=tied, centred=centred, spiking=spiking)
            if not tied:
                weights = self._feedback.weights
                self._backward = torch.optim.Adam(weights, lr=asked.backward_rate, capturable=recorded)
        self._measures = Measures(session.epochs, session.updates, [link.stage.name for link in self._chain.links])
        self._quick = self._compiled(recorded) if asked.compile else {}
        self._sweeps: dict[int, Sweeps] = {}

    def _check(self, session: Session) -> None:
        asked, depth = self._params, len(session.chain)
        if asked.solver == "state" and session.precision != "float32":
            raise ContractError(
                f"solver=state needs precision float32, not {session.precision}: x - f(x) cancels in half precision; "
                "solver=error bears it"
            )
        if asked.solver == "state" and asked.steps < depth - 1:
            warnings.warn(
                f"steps={asked.steps} leaves the lowest of {depth} stages without error; give steps={depth - 1} or "
                "more, or solver=error",
                stacklevel=2,
            )

    def epoch(self, session: Session, epoch: int) -> Iterator[Progress]:
        """Go once through the training split, an update a batch (with `incremental` one a sweep)."""
        session.model.train()
        draws = session.generator("augment", epoch)
        if epoch == 0:
            self._fit(session)
        for i, (inputs, labels) in enumerate(session.batches(epoch)):
            with torch.no_grad(), session.autocast():
                given = augmented(inputs, self._params.augment, draws)
                loss = self._update(given, labels, epoch * session.updates + i)
            yield Progress(loss, labels.numel())

    def _update(self, inputs: Tensor, labels: Tensor, update: int) -> Tensor:
        nudge = self._nudge(update)
        if nudge in self._quick and not self._measures.due(update):
            self._learning.aim(update)
            return self._quick[nudge](inputs, labels)
        task = self._task(inputs, labels, nudge)
        found = self._inferred(task, update, nudge)
        if not self._params.incremental:
            self._learn(found.errors, found.traces, update, nudge)
        self._learn_backward(found)
        return task.output.loss(task.traces[-1].y)

    def _compiled(self, recorded: bool) -> dict[float, Callable[[Tensor, Tensor], Tensor]]:
        """Return an update that gives a batch's loss, with what can be compiled in one function, for each nudge.

        Raises:
            ContractError: a stage has no closed form.
        """
        opaque = [link.stage.name for link in self._chain.links if not link.closed]
        if opaque:
            raise ContractError(f"compile=true needs closed forms, and stage {opaque[0]} has none: give compile=false")
        make = self._recorded if recorded else self._traced
        return {nudge: make(functools.partial(self._direct, nudge=nudge)) for nudge in {self._nudge(0), self._nudge(1)}}

    def _traced(self, direct: Direct) -> Callable[[Tensor, Tensor], Tensor]:
        """Compile all but the optimisers, which torch does no faster."""
        quick = self._chain.compiled(direct)
        return lambda inputs, labels: self._step(*quick(inputs, labels))

    def _recorded(self, direct: Direct) -> Callable[[Tensor, Tensor], Tensor]:
        """Record everything: each launch that is left costs more than its kernel."""

        def moved() -> list[Tensor]:
            held = [] if self._backward is None else list(self._backward.state.values())
            own = [] if self._feedback is None or self._backward is None else self._feedback.weights
            return [*self._learning.moved, *own, *(t for each in held for t in each.values())]

        return self._chain.compiled(lambda inputs, labels: self._step(*direct(inputs, labels)), moved)

    def _direct(self, inputs: Tensor, labels: Tensor, nudge: float) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Return the gradients of the weights and of learned backward weights, and the loss."""
        task = self._task(inputs, labels, nudge)
        found = self._infer(task, look=False, update=0, nudge=nudge)
        gradients = self._learning.gradients(found.errors, found.traces, -1.0 / (len(labels) * nudge))
        backward = [] if self._backward is None else self._backward_gradients(found)
        return gradients, backward, task.output.loss(task.traces[-1].y)

    def _step(self, gradients: list[Tensor], backward: list[Tensor], loss: Tensor) -> Tensor:
        self._learning.move(gradients)
        if backward:
            self._follow(backward)
        return loss

    def _inferred(self, task: Task, update: int, nudge: float) -> Inferred:
        """Infer, and look at what came out where it is due."""
        looks = self._measures.due(update)
        if looks:
            self._measures.cosine(self._chain, zil.infer(task), update)
        found = self._infer(task, look=looks, update=update, nudge=nudge)
        if looks:
            self._measures.took(self._chain, found, update)
        return found

    def _learn(self, found: list[Tensor], traces: list[Trace], update: int, nudge: float) -> None:
        scale = -1.0 / (len(traces[0].x) * nudge)
        self._learning.aim(update)
        self._learning.move(self._learning.gradients(found, traces, scale))

    def _task(self, inputs: Tensor, labels: Tensor, nudge: float) -> Task:
        asked = self._params
        traces = self._chain.forward(inputs.contiguous(memory_format=self._layout))
        output = output_of(traces[-1].y, labels, asked.loss, asked.output_precision, nudge)
        return Task(self._chain, traces, output, asked, self._feedback)

    def _infer(self, task: Task, *, look: bool, update: int, nudge: float) -> Inferred:
        if self._params.solver == "zil":
            return zil.infer(task)
        if self._params.solver == "error":
            return errors.infer(task, look=look)
        if Sweeps.takes(task):
            # Within torch.compile alone: the same numbers, but for the last digits.
            return traced.infer(task) if torch.compiler.is_compiling() else self._in_place(task).infer(task, look=look)
        return states.infer(task, look=look, moved=self._moving(update, nudge) if self._params.incremental else None)

    def _in_place(self, task: Task) -> Sweeps:
        """Return buffers for a batch of this size, which stay: a recorded step goes on writing to them."""
        held = self._sweeps.get(len(task.traces[0].x))
        if held is None or not held.serves(task):
            held = self._sweeps[len(task.traces[0].x)] = Sweeps(task.chain, self._params, task.traces)
        return held

    def _moving(self, update: int, nudge: float) -> Moved:
        def moved(found: list[Tensor], traces: list[Trace]) -> None:
            self._learn(found, traces, update, nudge)
            self._session.enforce()

        return moved

    def _nudge(self, update: int) -> float:
        """Return the signed nudge of an update."""
        asked = self._params
        turn = asked.nudging == "negative" or (asked.nudging == "centred" and update % 2 == 1)
        return -asked.nudge if turn else asked.nudge

    def _learn_backward(self, found: Inferred) -> None:
        """Move learned backward weights down their half of the energy, at the states that inference left."""
        if self._backward is not None:
            self._follow(self._backward_gradients(found))

    def _backward_gradients(self, found: Inferred) -> list[Tensor]:
        assert self._feedback is not None
        return self._feedback.gradients(found.states, found.top)

    def _follow(self, gradients: list[Tensor]) -> None:
        assert self._feedback is not None
        assert self._backward is not None
        for weight, gradient in zip(self._feedback.weights, gradients, strict=True):
            weight.grad = gradient
        self._backward.step()

    def _fit(self, session: Session) -> None:
        """Fit learned backward weights to feed-forward states, with the forward weights as they are."""
        if self._backward is None or self._feedback is None:
            return
        batches = itertools.chain.from_iterable(session.batches(0) for _ in itertools.count())
        for inputs, labels in itertools.islice(batches, self._params.fit):
            with torch.no_grad():
                task = self._task(inputs, labels, 1.0)
                held = [trace.y for trace in task.traces[:-1]]
                self._feedback.uncentred()
                self._follow(self._feedback.gradients(held, task.guess()))

    def measurements(self) -> Mapping[str, Any]:
        """Return energies by sweep and the cosine to backprop by stage, at the updates that were looked at."""
        return self._measures.told()

    def state(self) -> dict[str, Any]:
        """Return the optimisers' states, the backward weights and what was measured."""
        own: dict[str, Any] = {"optimizer": self._learning.state(), "measures": self._measures.state()}
        if self._backward is not None and self._feedback is not None:
            own["backward"] = {"weights": list(self._feedback.weights), "optimizer": self._backward.state_dict()}
        return own

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self._learning.restore(state["optimizer"])
        self._measures.restore(state["measures"])
        if self._backward is not None and self._feedback is not None:
            for weight, held in zip(self._feedback.weights, state["backward"]["weights"], strict=True):
                weight.copy_(held)
            self._backward.load_state_dict(state["backward"]["optimizer"])
