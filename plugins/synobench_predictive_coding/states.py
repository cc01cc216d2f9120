r"""Inference on states: x_l descends E for T sweeps, all states at once, from the feed-forward pass.

.. math:: x_l \leftarrow x_l - \gamma [e_l - J_{f_{l+1}}^T e_{l+1} + \alpha (d_l - J_{g_{l-1}}^T d_{l-1})]

The first stage's prediction never changes.  From the feed-forward states an error reaches stage l after L - l sweeps:
until then its state and its prediction are left alone (``wavefront``), which gives the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from synobench.stages import Link, Trace
from synobench_predictive_coding.inference import Guard, Inferred, Moved, Task, half_square


@dataclass(frozen=True)
class Point:
    """States x_1 ... x_{L-1}, the traces of all stages there, and their errors; None where no error has arrived."""

    states: list[Tensor]
    traces: list[Trace]
    errors: list[Tensor | None]


def infer(task: Task, *, look: bool = False, moved: Moved | None = None) -> Inferred:
    """Relax the states.

    Args:
        task: the batch.
        look: whether energies are wanted.
        moved: moves the weights after each sweep, where they learn along; traces are taken anew behind it.
    """
    guard, point, done = Guard(task.how, look), _start(task), 0
    guard.keeps(lambda: _energy(task, point))
    for _ in range(task.how.steps):
        new = _sweep(task, point, guard.gamma, done + 1)
        if not guard.keeps(lambda found=new: _energy(task, found)):  # type: ignore[misc]
            continue
        point, done = new, done + 1
        if moved is not None:
            moved(_told(point), point.traces)
            point = _anew(task, point)
        if guard.settled:
            break
    return Inferred(_told(point), point.traces, point.states, task.top, guard.energies, guard.halvings)


def _start(task: Task) -> Point:
    traces = task.traces
    states = [trace.y for trace in traces[:-1]]
    errors: list[Tensor | None] = [*([None] * len(states)), task.output.error(traces[-1].y)]
    if not _front(task):
        errors[:-1] = [torch.zeros_like(state) for state in states]
    if task.feedback is not None:
        task.feedback.centre(states, task.guess())
    return Point(states, list(traces), errors)


def _front(task: Task) -> bool:
    """Say whether sweeps may leave out what no error has reached; a plain backward half pulls on every state."""
    plain = task.feedback is not None and task.how.energy == "plain"
    return task.how.wavefront and not plain and not task.how.incremental


def _sweep(task: Task, at: Point, gamma: float, sweep: int) -> Point:
    links, last = task.chain.links, len(task.chain.links) - 1
    low = max(0, last - sweep) if _front(task) else 0
    states, traces, errors = list(at.states), list(at.traces), list(at.errors)
    pulls = task.feedback.forces(at.states, task.top) if task.feedback is not None else None
    for i in range(low, last):
        moved = _moved(at, links[i + 1], i, gamma)
        if pulls is not None:
            moved.sub_(pulls[i], alpha=gamma * task.how.alpha)
        # The first prediction stands still: there the error is moved, and gives the state.
        states[i] = moved if i else traces[0].y + moved
        errors[0] = errors[0] if i else moved
    for i in range(low, last):
        traces[i + 1] = links[i + 1].forward(states[i])
    for i in range(max(low, 1), last):
        errors[i] = states[i] - traces[i].y
    errors[last] = task.output.error(traces[last].y)
    return Point(states, traces, errors)


def _moved(at: Point, link: Link, i: int, gamma: float) -> Tensor:
    """Return the state (of the first stage, the error) after a step down the forward half of the energy."""
    own, above, trace = at.errors[i], at.errors[i + 1], at.traces[i + 1]
    assert above is not None
    if i == 0:
        base, share = (torch.zeros_like(at.states[0]), 1.0) if own is None else (own, 1.0 - gamma)
        return link.pulled(base, trace, above, share, gamma)
    base = at.states[i] if own is None else torch.sub(at.states[i], own, alpha=gamma)
    return link.pulled(base, trace, above, 1.0, gamma)


def _anew(task: Task, at: Point) -> Point:
    """Evaluate every stage again at the states: its weights have moved."""
    inputs = [task.traces[0].x, *at.states]
    traces = [link.forward(x) for link, x in zip(task.chain.links, inputs, strict=True)]
    errors: list[Tensor | None] = [x - trace.y for x, trace in zip(at.states, traces, strict=False)]
    return replace(at, traces=traces, errors=[*errors, task.output.error(traces[-1].y)])


def _energy(task: Task, at: Point) -> float:
    held = [e for e in at.errors[:-1] if e is not None]
    total = half_square(held) + task.output.energy(at.traces[-1].y)
    if task.feedback is not None:
        total += task.how.alpha * half_square(task.feedback.errors(at.states, task.top))
    return total


def _told(at: Point) -> list[Tensor]:
    """Return all errors, zeros where none has arrived."""
    return [torch.zeros_like(t.y) if e is None else e for e, t in zip(at.errors, at.traces, strict=True)]
