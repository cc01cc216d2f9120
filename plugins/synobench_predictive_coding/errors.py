r"""Inference on errors (ePC, arXiv 2505.20137): x_l = f_l(x_{l-1}) + e_l, and the errors e_1 ... e_{L-1} descend E.

With :math:`\lambda_l` less the derivative of the rest of the energy along the chain,

.. math:: e_l \leftarrow e_l - \gamma (e_l - \lambda_l), \qquad
    \lambda_l = J_{f_{l+1}}^T \lambda_{l+1} - \alpha (d_l - J_{g_{l-1}}^T d_{l-1}) .

The output's error reaches every stage in the first sweep; few sweeps suffice for deep networks.  At equilibrium errors
and states agree with those of inference on states.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synobench.stages import Trace
from synobench_predictive_coding.inference import Guard, Inferred, Task, half_square


@dataclass(frozen=True)
class Point:
    """Errors e_1 ... e_{L-1}, and the states and traces that they give."""

    errors: list[Tensor]
    states: list[Tensor]
    traces: list[Trace]


def infer(task: Task, *, look: bool = False) -> Inferred:
    """Relax the errors, from zero."""
    guard, point = Guard(task.how, look), _start(task)
    guard.keeps(lambda: _energy(task, point))
    for _ in range(task.how.steps):
        new = _sweep(task, point, guard.gamma)
        if not guard.keeps(lambda found=new: _energy(task, found)):  # type: ignore[misc]
            continue
        point = new
        if guard.settled:
            break
    errors = [*point.errors, task.output.error(point.traces[-1].y)]
    return Inferred(errors, point.traces, point.states, task.top, guard.energies, guard.halvings)


def _start(task: Task) -> Point:
    states = [trace.y for trace in task.traces[:-1]]
    if task.feedback is not None:
        task.feedback.centre(states, task.guess())
    return Point([torch.zeros_like(state) for state in states], states, list(task.traces))


def _sweep(task: Task, at: Point, gamma: float) -> Point:
    links = task.chain.links
    pulls = task.feedback.forces(at.states, task.top) if task.feedback is not None else None
    errors = list(at.errors)
    force = task.output.error(at.traces[-1].y)
    for i in range(len(links) - 2, -1, -1):
        force = links[i + 1].pull(at.traces[i + 1], force)
        if pulls is not None:
            force = force.sub(pulls[i], alpha=task.how.alpha)
        errors[i] = _toward(at.errors[i], force, gamma)
    states, traces = [at.traces[0].y + errors[0]], [at.traces[0]]
    for i, link in enumerate(links[1:], start=1):
        traces.append(link.forward(states[-1]))
        if i < len(errors):
            states.append(traces[-1].y + errors[i])
    return Point(errors, states, traces)


def _toward(error: Tensor, force: Tensor, gamma: float) -> Tensor:
    # torch 2.13 compiles a lerp from zeros to a product wrongly.
    return error + gamma * (force - error) if torch.compiler.is_compiling() else torch.lerp(error, force, gamma)


def _energy(task: Task, at: Point) -> float:
    total = half_square(at.errors) + task.output.energy(at.traces[-1].y)
    if task.feedback is not None:
        total += task.how.alpha * half_square(task.feedback.errors(at.states, task.top))
    return total
