"""CHITA at the workbench: gradients in, a Proposal of masks and new values out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from synobench.gradients import SampleGradients, drop_rows
from synobench.surgery import Proposal
from synobench.workbench import Workbench
from synobench_chita.params import Chita, ChitaStages
from synobench_chita.quadratic import Quadratic
from synobench_chita.schedules import sparsities
from synobench_chita.solve import Settings, Solution, solve, without_first_order
from synobench_chita.support import hard_threshold


class SingleStage:
    """Solve once, at the trained weights (Algorithms 2 and 4 to 6)."""

    def __init__(self, params: Chita) -> None:
        self.params = params

    def prune(self, bench: Workbench) -> Proposal:
        """Solve with each ridge of the grid and keep what validation data likes best."""
        asked = self.params
        screen = asked.screen if asked.size == 1 else 1.0
        gradients = bench.sample_gradients(_drawn(bench, asked), asked.size, screen=screen, total=asked.alpha > 0)
        kept, settings = _kept(bench), _settings(self.params, bench)
        tried = {ridge: _solved(gradients, kept, ridge, self.params, settings) for ridge in self.params.ridges}
        ridge = _preferred(bench, gradients, {r: found.solution for r, found in tried.items()})
        return _proposal(gradients, tried[ridge], kept, ridges=float(len(tried)))


class MultiStage:
    """Solve in stages of rising sparsity, with fresh gradients each time (Algorithm 1). Removed weights may return."""

    def __init__(self, params: ChitaStages) -> None:
        self.params = params

    def prune(self, bench: Workbench) -> Proposal:
        """Go through the schedule; the last stage's solution is proposed."""
        asked, settings = self.params, _settings(self.params, bench)
        total = sum(weight.numel() for weight in bench.prunable.values())
        last = _kept(bench)
        goals = sparsities(asked.schedule, asked.stages, asked.start, 1.0 - last / total, asked.settle)
        counts = [*(max(last, round((1.0 - goal) * total)) for goal in goals[:-1]), last]
        for stage, kept in enumerate(counts):
            gradients = bench.sample_gradients(_drawn(bench, asked), asked.size, salt=stage)
            found = _solved(gradients, kept, asked.ridge, asked, settings)
            found = _strode(bench, gradients, found, asked, settings)
            put(bench, gradients, found.solution.weights)
            bench.progress(stage + 1, len(counts), kept=kept)
        return _proposal(gradients, found, last, stages=float(len(counts)))


@dataclass(frozen=True)
class Solved:
    """A problem, its ridge per row, and its solution."""

    problem: Quadratic
    ridge: float
    solution: Solution


def quadratic(gradients: SampleGradients, ridge: float, alpha: float) -> Quadratic:
    r"""Return Q at the weights of the gradients.

    With rows of several images, each the gradient of their mean, :math:`\alpha` is divided by their number: the outer
    product of a mean understates the Fisher matrix by as much.
    """
    share = alpha / gradients.size
    linear = (
        gradients.total.double() * (share / gradients.size) if share else torch.zeros_like(gradients.weights.double())
    )
    return Quadratic(gradients.matrix, gradients.weights.double(), gradients.drawn * ridge, linear, share)


def put(bench: Workbench, gradients: SampleGradients, weights: Tensor) -> None:
    """Write weights [p] into the working copy."""
    lent = bench.prunable
    for name, value in gradients.unflatten(weights.to(gradients.weights.dtype)).items():
        lent[name].copy_(value)


def _drawn(bench: Workbench, asked: Chita | ChitaStages) -> int:
    """Return how many images are drawn: as many as asked for, and no more whole rows than the training split has."""
    rows = min(asked.samples, len(bench.tools.feed)) // asked.size
    return max(1, rows) * asked.size


def _kept(bench: Workbench) -> int:
    """Return how many weights the target leaves."""
    masks = bench.keep_highest({name: weight.abs() for name, weight in bench.prunable.items()}).masks
    return sum(int(mask.sum()) for mask in masks.values())


def _settings(asked: Chita | ChitaStages, bench: Workbench) -> Settings:
    variant = asked.variant
    if variant == "auto":
        convolutions = any(isinstance(module, nn.modules.conv._ConvNd) for module in bench.model.modules())
        variant = "bso-block" if convolutions else "bso-swaps"
    lengths = [weight.numel() for weight in bench.prunable.values()]
    return Settings(variant, asked.support, asked.iterations, asked.sweeps, asked.swaps, asked.block, lengths)


def _solved(gradients: SampleGradients, kept: int, ridge: float, asked: Chita | ChitaStages, how: Settings) -> Solved:
    problem = quadratic(drop_rows(gradients, ridge, asked.drop), ridge, asked.alpha)
    return Solved(problem, ridge, solve(problem, kept, how))


def _preferred(bench: Workbench, gradients: SampleGradients, tried: dict[float, Solution]) -> float:
    """Return the ridge whose weights score highest on the first half of the validation split; of equals the largest."""
    if len(tried) == 1:
        return next(iter(tried))
    scores = {}
    with bench.trial():
        for ridge, solution in tried.items():
            put(bench, gradients, solution.weights)
            scores[ridge] = bench.evaluate().accuracy
    return max(scores, key=lambda ridge: (scores[ridge], ridge))


def _strode(bench: Workbench, gradients: SampleGradients, found: Solved, asked: ChitaStages, how: Settings) -> Solved:
    """Return the solution whose first-order part is the multiple, of `strides`, of least loss on training images."""
    if asked.strides == (1.0,) or not asked.alpha:
        return found
    rest = without_first_order(found.problem, found.solution, how)
    way = found.solution.weights - rest
    losses = {}
    with bench.trial(), torch.no_grad():
        for stride in asked.strides:
            put(bench, gradients, rest + stride * way)
            losses[stride] = sum(float(bench.loss(batch)) for batch in bench.calibration(1, asked.look))
    best = min(losses, key=losses.__getitem__)
    return replace(found, solution=Solution(rest + best * way, found.solution.support))


def _proposal(gradients: SampleGradients, found: Solved, kept: int, **told: float) -> Proposal:
    whole = quadratic(gradients, found.ridge, found.problem.alpha * gradients.size)
    magnitude = hard_threshold(whole.dense, kept)
    measurements = {
        "objective_magnitude": whole.value(magnitude),
        "objective": whole.value(found.solution.weights),
        "k": float(kept),
        "n": float(gradients.drawn),
        "rows": float(found.problem.rows),
        "ridge": found.ridge,
        **told,
    }
    weights = found.solution.weights.to(gradients.weights.dtype)
    return Proposal(gradients.unflatten(found.solution.support), gradients.unflatten(weights), measurements)
