"""What is asked for, how it will be computed, and the memory that it takes: settled before the first pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from synobench.errors import BenchError, nearest
from synobench.feed import Feed
from synobench.gradients.capture import by_hooks, supported
from synobench.gradients.matrix import Span
from synobench.gradients.ways import Found, Problem, by_loop, by_vmap

Way = Callable[[Problem, Tensor, Tensor], Found]
WAYS: dict[str, Way] = {"hooks": by_hooks, "vmap": by_vmap, "loop": by_loop}
"""How the gradients of many rows may be found, the fastest first."""

CHUNK_BYTES = 64 << 20
"""Row-major gradients that may be held at once, before they are written to the matrix."""

IMAGES = 32
"""Images that go through the network at once, at most."""


@dataclass(frozen=True)
class Ask:
    """What is asked for; plain data that decides the result.

    Args:
        samples: images drawn.
        size: images a row.
        salt: tells draws of one run apart.
        names: the tensors wanted; empty: all that are prunable.
        screen: the share of the trace to reach; 1 takes every row.
        total: whether the sum over all images is wanted where rows are screened away.

    Raises:
        BenchError: they do not fit together.
    """

    samples: int = 1000
    size: int = 1
    salt: int = 0
    names: tuple[str, ...] = ()
    screen: float = 1.0
    total: bool = True

    def __post_init__(self) -> None:
        if self.samples < 1 or self.size < 1 or self.samples % self.size:
            raise BenchError(f"{self.samples} samples do not make whole rows of {self.size}; ask for a multiple of it")
        if not 0 < self.screen <= 1:
            raise BenchError(f"screening aims at a share of the trace above 0 and up to 1, not {self.screen}")
        if self.screen < 1 and self.size > 1:
            raise BenchError("screening orders single images; rows of several are all computed: leave screen at 1")


def draw(feed: Feed, samples: int, generator: torch.Generator) -> Tensor:
    """Draw images of the training split without replacement, by place.

    Raises:
        BenchError: there are not as many.
    """
    if samples > len(feed):
        raise BenchError(f"{samples} samples were asked for and the training split has {len(feed)}")
    return torch.randperm(len(feed), generator=generator)[:samples]


def spans_of(problem: Problem) -> tuple[Span, ...]:
    """Return where each prunable tensor lies, in the model's order."""
    spans, start = [], 0
    for name, weight in problem.weights.items():
        spans.append(Span(name, start, start + weight.numel(), tuple(weight.shape)))
        start += weight.numel()
    return tuple(spans)


@dataclass(frozen=True)
class Plan:
    """How a matrix will be made, settled before the first pass.

    Args:
        way: a name of `WAYS`.
        weights: p.
        rows: the most rows that will come.
        chunk: rows a pass.
        bytes: memory of the matrix and of a chunk's gradients; the activations of at most `IMAGES` images, or of one
            row's, come on top.
    """

    way: str
    weights: int
    rows: int
    chunk: int
    bytes: int

    def within(self, bound: int) -> Plan:
        """Return the plan, if it keeps to a bound of bytes.

        Raises:
            BenchError: it does not.
        """
        if self.bytes > bound:
            raise BenchError(
                f"the gradients of {self.weights:,} weights over {self.rows:,} rows need {self.bytes / 1e9:.1f} GB, "
                f"and the bound is {bound / 1e9:.1f} GB: ask for fewer samples, larger rows or fewer tensors, or raise "
                "memory"
            )
        return self


def plan(problem: Problem, rows: int, way: str = "auto") -> Plan:
    """Choose a way and a chunk, and say what memory they take.

    ``auto`` takes hooks where every prunable weight belongs to linear layers and convolutions alone, else vmap.

    Raises:
        BenchError: there is no such way.
    """
    if way not in (*WAYS, "auto"):
        raise BenchError(f"per-sample gradients cannot be had by {way!r}{nearest(way, (*WAYS, 'auto'))}")
    chosen = way if way != "auto" else "hooks" if supported(problem) else "vmap"
    sizes = [4 * weight.numel() for weight in problem.weights.values()]
    # Hooks hold the gradients of one layer at a time, the others those of all.
    held = max(sizes) if chosen == "hooks" else sum(sizes)
    chunk = max(1, min(rows, IMAGES // problem.size, CHUNK_BYTES // held))
    return Plan(chosen, sum(sizes) // 4, rows, chunk, rows * sum(sizes) + 2 * chunk * held)


def groups(sizes: Mapping[str, int], rows: int, bound: int) -> list[tuple[str, ...]]:
    """Split tensors, in order, into as few runs as keep their gradients within a bound, one tensor at least.

    Args:
        sizes: how many weights each tensor has.
        rows: the most rows that will come.
        bound: bytes that may be needed: those of the matrix, and of a chunk's gradients.
    """
    out, held = list[list[str]](), 0
    for name, size in sizes.items():
        held += 4 * size
        if not out or rows * held + 2 * max(CHUNK_BYTES, held) > bound:
            out.append([])
            held = 4 * size
        out[-1].append(name)
    return [tuple(names) for names in out]
