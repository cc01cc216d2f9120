"""From drawn images to the weight-major matrix, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from synobench import machine
from synobench.feed import Feed
from synobench.gradients import screen
from synobench.gradients.canvas import Canvas
from synobench.gradients.matrix import SampleGradients
from synobench.gradients.plan import WAYS, Ask, Plan, plan, spans_of
from synobench.gradients.trust import apart, trusted
from synobench.gradients.ways import Problem


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
    allowed = machine.memory(feed.device) // 2 if bound is None else bound
    planned = plan(problem, rows, way).within(allowed)
    if way == "auto":
        planned = trusted(problem, feed, drawn, planned).within(allowed)
    collector = Collector(problem, feed, planned)
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
        planned: how they are made, and how many at most.
    """

    def __init__(self, problem: Problem, feed: Feed, planned: Plan) -> None:
        self.problem, self.feed, self.planned = apart(problem, planned.way), feed, planned
        self.spans = spans_of(problem)
        self.canvas = Canvas(self.spans[-1].stop, planned.rows, feed.device)
        self.squares = torch.zeros(planned.rows, dtype=torch.float64, device=feed.device)
        self.done = 0

    def add(self, places: Tensor) -> Tensor:
        """Compute the rows of the images at `places`; return the squared norms of the rows, [r] float64."""
        begun = self.done
        for part in torch.split(places, self.planned.chunk * self.problem.size):
            inputs, labels = self.feed.take(part.to(self.feed.device))
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
