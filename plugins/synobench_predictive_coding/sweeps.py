r"""Inference on the states of a perceptron, in buffers that are made once: what `states` does, with less around it.

A sweep is a list of calls bound to their tensors, so that little but arithmetic is left of it.  It takes chains whose
stages above the first are linear layers with an elementwise function behind them, skip connections allowed, and an
energy without a backward half.

Since the first stage's prediction never changes, its error z moves by pulls of the second stage alone.  Where that one
has no skip connection z keeps to the rows of its weight W [out, in], and is held as u with z = u W:

.. math:: u \leftarrow (1 - \gamma) u + \gamma d, \qquad f_2(x_1) = h(W p_1 + b + u K), \qquad K = W W^T

with p_1 the first prediction and d the second stage's error pulled through h.  K is made once a batch, in place of two
products with W a sweep: the same numbers up to rounding, from fewer multiply-adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from synobench.stages import Chain, Link, Trace
from synobench.stages.ops import Call, Elementwise, Linear
from synobench_predictive_coding import PredictiveCoding
from synobench_predictive_coding.inference import Guard, Inferred, Task, half_square


class Layer:
    """What sweeps need of one stage above the first: y = h(x W' + b), or x + s h(x W' + b)."""

    def __init__(self, link: Link) -> None:
        layer, *behind = link.ops
        assert isinstance(layer, Linear)
        self.weight, self.bias, self.skip = layer.module.weight, layer.module.bias, link.stage.skip
        self.act: Elementwise | None = None
        if behind:
            assert isinstance(behind[0], Elementwise)
            self.act = behind[0]

    @staticmethod
    def fits(link: Link) -> bool:
        """Say whether a stage is of this kind."""
        if not link.closed or not isinstance(link.ops[0], Linear):
            return False
        return len(link.ops) == 1 or (len(link.ops) == 2 and isinstance(link.ops[1], Elementwise))


def pays(second: Layer, how: PredictiveCoding, many: int) -> bool:
    """Say whether u takes fewer multiply-adds than the first error itself, in a batch of so many."""
    out, within = second.weight.shape
    saved = how.steps * many * (2 * within - out) * out
    return not second.skip and saved > within * out * (out + many)


class Point:
    """The tensors of one point of inference; entry i is of stage i + 1, as in `states`.

    Args:
        move: u [N, out of the second stage], or the first error itself [N, in].
        states: x. `sums`: x W' + b. `acts`: h of them. `told`: predictions. `errors`: x less its prediction.
    """

    def __init__(self, traces: Sequence[Trace], width: int, stages: Sequence[Layer]) -> None:
        like = [trace.y for trace in traces]
        self.move = like[0].new_zeros(len(like[0]), width)
        self.states = [torch.zeros_like(y) for y in like[:-1]]
        self.errors = [torch.zeros_like(y) for y in like]
        self.sums = [torch.zeros_like(y) for y in like]
        # What nothing is done to is one tensor under two names.
        kinds = [None, *stages]
        self.acts = [torch.zeros_like(h) if k and k.act else h for k, h in zip(kinds, self.sums, strict=True)]
        self.told = [torch.zeros_like(h) if k and k.skip else h for k, h in zip(kinds, self.acts, strict=True)]


Program = tuple[list[Call], int, int]
"""The calls of a sweep, and its multiply-adds forward and backward."""


class Sweeps:
    """Buffers and sweeps for batches of one size.

    What `infer` returns lies in the buffers, and stands until it is called again.
    """

    def __init__(self, chain: Chain, how: PredictiveCoding, traces: Sequence[Trace]) -> None:
        self._chain, self._how, self._last = chain, how, len(chain) - 1
        self._stages = [Layer(link) for link in chain.links[1:]]
        self._weights = [stage.weight.data_ptr() for stage in self._stages]
        (out, within), self._many = self._stages[0].weight.shape, len(traces[0].y)
        self._gram = traces[0].y.new_zeros(out, out) if pays(self._stages[0], how, self._many) else None
        width = within if self._gram is None else out
        self._points = [Point(traces, width, self._stages) for _ in range(2)]
        self._base, self._first = torch.zeros_like(traces[1].y), torch.zeros_like(traces[0].y)
        self._target = torch.zeros_like(traces[-1].y)
        self._scratch = [torch.zeros_like(trace.y) for trace in traces]
        self._programs: dict[tuple[int, int, int, float], Program] = {}

    @staticmethod
    def takes(task: Task) -> bool:
        """Say whether a batch's inference can be done here."""
        how, links = task.how, task.chain.links
        if task.feedback is not None or how.incremental or len(links) < 2 or task.traces[0].y.dim() != 2:
            return False
        return all(Layer.fits(link) for link in links[1:])

    def serves(self, task: Task) -> bool:
        """Say whether the buffers are for batches of this size, and still bound to the weights."""
        bound = [stage.weight.data_ptr() for stage in self._stages] == self._weights
        return bound and len(task.traces[0].y) == self._many

    def infer(self, task: Task, *, look: bool = False) -> Inferred:
        """Relax the states; `look` says whether energies are wanted."""
        guard, done, at = Guard(task.how, look), 0, 0
        # Without a look at the energy no sweep is taken back, and all go on in the same buffers.
        for point in self._points[: 1 + guard.watches]:
            self._fill(point, task)
        guard.keeps(lambda: self._energy(task, self._points[0]))
        for _ in range(task.how.steps):
            to = 1 - at if guard.watches else at
            self._sweep(at, to, max(0, self._last - done - 1) if self._how.wavefront else 0, guard.gamma)
            if not guard.keeps(lambda found=self._points[to]: self._energy(task, found)):  # type: ignore[misc]
                continue
            at, done = to, done + 1
            if guard.settled:
                break
        return self._told(task, self._points[at], guard)

    def _sweep(self, at: int, to: int, low: int, gamma: float) -> None:
        key = (at, to, low, gamma)
        if key not in self._programs:
            self._programs[key] = self._program(self._points[at], self._points[to], low, gamma)
        calls, forward, backward = self._programs[key]
        for call in calls:
            call()
        self._chain.count("forward", forward)
        self._chain.count("backward", backward / 2)

    def _fill(self, point: Point, task: Task) -> None:
        """Take over the feed-forward pass."""
        traces = task.traces
        point.move.zero_()
        for i, stage in enumerate(self._stages, start=1):
            point.sums[i].copy_(traces[i].tapes[0][1])
            for call in _behind(stage, point, i, traces[i].x):
                call()
            if i < self._last:
                point.states[i].copy_(traces[i].y)
                point.errors[i].zero_()
        self._base.copy_(traces[1].tapes[0][1])
        self._first.copy_(traces[0].y)
        self._target.copy_(task.output.target)
        for call in self._output(point):
            call()
        if self._gram is not None:
            weight = self._stages[0].weight
            torch.mm(weight, weight.t(), out=self._gram)
            self._chain.count("forward", weight.numel() * len(weight))

    def _program(self, at: Point, to: Point, low: int, gamma: float) -> Program:
        calls, forward, backward = list[Call](), 0, 0
        if low == 0:
            calls, forward, backward = self._lowest(at, to, gamma)
        middle = range(max(low, 1), self._last)
        for i in middle:
            calls.append(partial(torch.sub, at.states[i], at.errors[i], alpha=gamma, out=to.states[i]))
            calls += self._pulled(at, i + 1, to.states[i], gamma)
            backward += self._products(i + 1)
        for i in middle:
            stage, x = self._stages[i], to.states[i]
            calls += [_affine(stage, x, to.sums[i + 1]), *_behind(stage, to, i + 1, x)]
            forward += self._products(i + 1)
        calls += [partial(torch.sub, to.states[i], to.told[i], out=to.errors[i]) for i in middle]
        return calls + self._output(to), forward, backward

    def _products(self, i: int) -> int:
        return self._many * self._stages[i - 1].weight.numel()

    def _lowest(self, at: Point, to: Point, gamma: float) -> Program:
        """Move the first error, and take the second stage's prediction anew."""
        stage, calls = self._stages[0], list[Call]()
        d = self._behind_pulled(at, 1, calls)
        if self._gram is not None:
            calls.append(partial(torch.lerp, at.move, d, gamma, out=to.move))
            calls.append(partial(torch.addmm, self._base, to.move, self._gram, out=to.sums[1]))
            calls += _behind(stage, to, 1, self._first)
            return calls, to.move.numel() * len(self._gram), 0
        scale = gamma * (stage.skip or 1.0)
        calls.append(partial(torch.addmm, at.move, d, stage.weight, beta=1 - gamma, alpha=scale, out=to.move))
        if stage.skip:
            calls.append(partial(to.move.add_, at.errors[1], alpha=gamma))
        calls.append(partial(torch.addmm, self._base, to.move, stage.weight.t(), out=to.sums[1]))
        calls.append(partial(torch.add, self._first, to.move, out=to.states[0]))
        calls += _behind(stage, to, 1, to.states[0])
        return calls, self._products(1), self._products(1)

    def _pulled(self, at: Point, i: int, onto: Tensor, gamma: float) -> list[Call]:
        """Return calls that add gamma times the pull of stage i's error."""
        stage, calls = self._stages[i - 1], list[Call]()
        d = self._behind_pulled(at, i, calls)
        calls.append(partial(onto.addmm_, d, stage.weight, alpha=gamma * (stage.skip or 1.0)))
        if stage.skip:
            calls.append(partial(onto.add_, at.errors[i], alpha=gamma))
        return calls

    def _behind_pulled(self, at: Point, i: int, calls: list[Call]) -> Tensor:
        """Return where stage i's error lies pulled through its function, and add the call that does it."""
        act = self._stages[i - 1].act
        if act is None:
            return at.errors[i]
        calls.append(act.pull_into(at.sums[i], at.acts[i], at.errors[i], self._scratch[i]))
        return self._scratch[i]

    def _output(self, to: Point) -> list[Call]:
        """Return calls that leave the output's error, as ``Output.error`` has it."""
        out, error, calls = to.told[-1], to.errors[-1], list[Call]()
        if self._how.loss != "mse":
            calls.append(partial(torch.softmax, out, 1, out=self._scratch[-1]))
            out = self._scratch[-1]
        calls.append(partial(torch.sub, self._target, out, out=error))
        if self._how.output_precision != 1.0:
            calls.append(partial(error.mul_, self._how.output_precision))
        return calls

    def _energy(self, task: Task, at: Point) -> float:
        first = at.move if self._gram is None else at.sums[1] - self._base
        own = 0.5 * float(torch.dot(at.move.view(-1), first.view(-1)))
        return own + half_square(at.errors[1:-1]) + task.output.energy(at.told[-1])

    def _told(self, task: Task, at: Point, guard: Guard) -> Inferred:
        """Return the point as `states` does."""
        first, weight = at.move, self._stages[0].weight
        if self._gram is not None:
            first = torch.mm(at.move, weight, out=at.errors[0])
            self._chain.count("backward", self._products(1) / 2)
        torch.add(self._first, first, out=at.states[0])
        traces, x = [task.traces[0]], at.states[0]
        for i, stage in enumerate(self._stages, start=1):
            tapes = [(x, at.sums[i]), *([stage.act.tape(at.sums[i], at.acts[i])] if stage.act else [])]
            traces.append(Trace(x, at.told[i], tuple(tapes)))
            x = at.states[i] if i < self._last else x
        return Inferred([first, *at.errors[1:]], traces, list(at.states), task.top, guard.energies, guard.halvings)


def _affine(stage: Layer, x: Tensor, out: Tensor) -> Call:
    if stage.bias is None:
        return partial(torch.mm, x, stage.weight.t(), out=out)
    return partial(torch.addmm, stage.bias, x, stage.weight.t(), out=out)


def _behind(stage: Layer, to: Point, i: int, x: Tensor) -> list[Call]:
    """Return calls that take stage i's prediction from its sums, at the input x."""
    calls = [] if stage.act is None else [stage.act.into(to.sums[i], to.acts[i])]
    if stage.skip:
        calls.append(partial(torch.add, x, to.acts[i], alpha=stage.skip, out=to.told[i]))
    return calls
