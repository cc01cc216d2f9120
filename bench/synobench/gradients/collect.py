"""From drawn images to the weight-major matrix: the memory it needs, chunk by chunk, the total."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from synobench.errors import BenchError, nearest
from synobench.feed import Feed
from synobench.gradients.matrix import SampleGradients, Span, sort_columns
from synobench.gradients.ways import Found, Problem, by_loop, by_vmap

Way = Callable[[Problem, Tensor, Tensor], Found]
WAYS: dict[str, Way] = {"vmap": by_vmap, "loop": by_loop}
"""How the gradients of many rows may be found."""

CHUNK_BYTES = 32 << 20
"""Row-major gradients that are held at once, before they are written to the matrix."""


@dataclass(frozen=True)
class Ask:
    """What is asked for; plain data that decides the result, and so is part of its key.

    Args:
        samples: images drawn.
        size: images a row.
        salt: tells draws of one run apart: a stage's number.
        way: how they are computed: a name of `WAYS`, or ``auto``.
    """

    samples: int = 1000
    size: int = 1
    salt: int = 0
    way: str = "auto"

    def __post_init__(self) -> None:
        if self.samples < 1 or self.size < 1 or self.samples % self.size:
            raise BenchError(f"{self.samples} samples do not make whole rows of {self.size}; ask for a multiple of it")
        if self.way not in (*WAYS, "auto"):
            raise BenchError(
                f"there is no way {self.way!r} to per-sample gradients{nearest(self.way, (*WAYS, 'auto'))}"
            )


def spans_of(problem: Problem) -> tuple[Span, ...]:
    """Return where each prunable tensor lies, in the model's order."""
    spans, start = [], 0
    for name, weight in problem.weights.items():
        spans.append(Span(name, start, start + weight.numel(), tuple(weight.shape)))
        start += weight.numel()
    return tuple(spans)


def draw(feed: Feed, samples: int, generator: torch.Generator) -> Tensor:
    """Draw images of the training split without replacement, by place.

    Raises:
        BenchError: there are not as many.
    """
    if samples > len(feed):
        raise BenchError(f"{samples} samples were asked for and the training split has {len(feed)}")
    return torch.randperm(len(feed), generator=generator)[:samples]


class Collector:
    """Writes rows into the columns of a matrix [p, n], and sums them up as they come.

    Args:
        problem: what is differentiated.
        rows: n, the most rows that will come.
    """

    def __init__(self, problem: Problem, rows: int) -> None:
        self.problem, self.spans = problem, spans_of(problem)
        device = next(iter(problem.weights.values())).device
        p = self.spans[-1].stop
        self.matrix = torch.empty(p, rows, device=device)
        self.squares = torch.zeros(rows, dtype=torch.float64, device=device)
        self.total = torch.zeros(p, dtype=torch.float64, device=device)
        self.done = 0

    def add(self, found: Iterator[tuple[str, Tensor]], rows: int) -> None:
        """Write the next `rows` rows."""
        at = slice(self.done, self.done + rows)
        places = {span.name: span for span in self.spans}
        for name, gradient in found:
            span, flat = places[name], gradient.detach().flatten(1)
            self.matrix[span.start : span.stop, at] = flat.T
            self.squares[at] += flat.square().sum(1, dtype=torch.float64)
            self.total[span.start : span.stop] += flat.sum(0, dtype=torch.float64)
        self.done += rows


def collect(problem: Problem, feed: Feed, drawn: Tensor, ask: Ask) -> SampleGradients:
    """Compute the gradients of the drawn images' rows."""
    collector = Collector(problem, ask.samples // ask.size)
    way = WAYS["vmap" if ask.way == "auto" else ask.way]
    p = collector.matrix.shape[0]
    chunk = max(1, min(50, CHUNK_BYTES // (4 * p)))
    for part in drawn.split(chunk * ask.size):
        inputs, labels = feed.take(part.to(feed.device))
        collector.add(way(problem, inputs, labels), len(part) // ask.size)
    order = collector.squares.argsort(descending=True, stable=True)
    weights = torch.cat([w.detach().flatten() for w in problem.weights.values()])
    return SampleGradients(
        matrix=sort_columns(collector.matrix, order),
        total=(collector.total * ask.size).float(),
        samples=ask.samples,
        weights=weights.float(),
        spans=collector.spans,
        squares=collector.squares[order],
        index=order,
        size=ask.size,
        told={"samples": float(ask.samples), "rows": float(order.numel()), "parameters": float(p)},
    )
