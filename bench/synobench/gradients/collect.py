"""From drawn images to the weight-major matrix, chunk by chunk."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from synobench import machine
from synobench.feed import Feed
from synobench.gradients import screen
from synobench.gradients.canvas import Canvas
from synobench.gradients.matrix import SampleGradients
from synobench.gradients.plan import WAYS, Ask, Plan, bounded, plan, spans_of
from synobench.gradients.ways import Problem, by_loop

TOLERANCE = 1e-3
"""How far a way's rows may lie from those of plain backward passes, relative to their norm, and still be trusted."""


def collect(
    problem: Problem, feed: Feed, drawn: Tensor, ask: Ask, way: str = "auto", bound: int | None = None
) -> SampleGradients:
    """Compute the gradients of drawn images, row by row.

    Args:
        problem: the network, in evaluation mode, and its weights.
        feed: where the images come from.
        drawn: [samples], their places; row i is made of the images i * size to (i + 1) * size.
        ask: what is wanted.
        way: a name of `WAYS`, or ``auto``: the fastest whose first rows agree with plain backward passes.
        bound: bytes that may be needed; None: half of the machine's memory.

    Raises:
        BenchError: the bound is too small, or there is no such way.
    """
    rows = ask.samples // ask.size
    planned = plan(problem, rows, way)
    bounded(planned, problem, rows, machine.memory(feed.device) // 2 if bound is None else bound)
    collector = Collector(problem, feed, rows, planned, trusted=way != "auto")
    if ask.screen < 1:
        taken, share, rest = screen.screened(collector, drawn, ask)
    else:
        collector.add(drawn)
        taken, share, rest = torch.arange(rows), 1.0, None
    return collector.result(ask, taken, share, rest)


class Collector:
    """Takes the rows of images, chunk by chunk.

    Args:
        problem: what is differentiated, in evaluation mode.
        feed: where the images come from.
        rows: the most rows that will come.
        planned: how they are made.
        trusted: whether the way was asked for by name; if not, two rows are held against plain backward passes first.
    """

    def __init__(self, problem: Problem, feed: Feed, rows: int, planned: Plan, trusted: bool) -> None:
        self.problem, self.feed, self.planned = _apart(problem, planned.way), feed, planned
        self.spans = spans_of(problem)
        self.canvas = Canvas(self.spans[-1].stop, rows, feed.device)
        self.squares = torch.zeros(rows, dtype=torch.float64, device=feed.device)
        self.done = 0
        self._trusted = trusted or planned.way == "loop"

    def add(self, places: Tensor) -> Tensor:
        """Compute the rows of the images at `places`; return the squared norms of the rows, [r] float64."""
        begun = self.done
        for part in torch.split(places, self.planned.chunk * self.problem.size):
            inputs, labels = self.feed.take(part.to(self.feed.device))
            if not self._trusted:
                self._choose(inputs, labels)
            self._write(WAYS[self.planned.way](self.problem, inputs, labels), len(part) // self.problem.size)
        return self.squares[begun : self.done]

    def result(self, ask: Ask, taken: Tensor, share: float, rest: Tensor | None) -> SampleGradients:
        """Return all rows done, sorted by norm.

        Args:
            ask: what was wanted.
            taken: [m], which of the drawn rows each one is.
            share: of the trace that they hold, as far as is known.
            rest: [p], the sum of the gradients of all images that have no row.
        """
        order = self.squares[: self.done].argsort(descending=True, stable=True)
        matrix, sums = self.canvas.finish(order)
        sums *= self.problem.size
        return SampleGradients(
            matrix=matrix,
            total=sums if rest is None else sums + rest,
            samples=ask.samples,
            weights=torch.cat([w.detach().flatten() for w in self.problem.weights.values()]).float(),
            spans=self.spans,
            squares=self.squares[order],
            index=taken.to(order.device)[order],
            size=ask.size,
            told={
                "gradient_samples": float(ask.samples),
                "gradient_rows": float(self.done),
                "gradient_share": share,
                "gradient_bytes": float(self.planned.bytes),
            },
        )

    def _write(self, found: Iterator[tuple[str, Tensor]], rows: int) -> None:
        starts = {span.name: span.start for span in self.spans}
        for name, gradient in found:
            flat = gradient.detach().flatten(1)
            self.canvas.write(self.done, starts[name], flat)
            self.squares[self.done : self.done + rows] += torch.linalg.vector_norm(flat, dim=1).double().square()
        self.done += rows

    def _choose(self, inputs: Tensor, labels: Tensor) -> None:
        """Hold the first and the last row against plain backward passes; go on to the next way where they differ."""
        size = self.problem.size
        ends = torch.cat([torch.arange(size), torch.arange(size) + inputs.shape[0] - size]).to(inputs.device)
        told = inputs[ends], labels[ends]
        plain = _joined(by_loop(self.problem, *told))
        ways = list(WAYS)
        while self.planned.way != "loop" and not self._agrees(plain, *told):
            way = ways[ways.index(self.planned.way) + 1]
            self.planned = plan(self.problem, self.canvas.rows, way)
            self.problem = _apart(self.problem, way)
        self._trusted = True

    def _agrees(self, plain: Tensor, inputs: Tensor, labels: Tensor) -> bool:
        try:
            found = _joined(WAYS[self.planned.way](self.problem, inputs, labels))
        except (RuntimeError, ValueError, TypeError):
            return False
        return bool(((found - plain).norm(dim=1) <= TOLERANCE * plain.norm(dim=1)).all())


def _joined(found: Iterator[tuple[str, Tensor]]) -> Tensor:
    return torch.cat([gradient.flatten(1) for _, gradient in found], dim=1)


def _apart(problem: Problem, way: str) -> Problem:
    """Give vmap a copy of the network: a layer that keeps state would be left with values that are no tensors."""
    if way != "vmap":
        return problem
    model = copy.deepcopy(problem.model)
    return dataclasses.replace(problem, model=model, weights={n: model.get_parameter(n) for n in problem.weights})
