"""CHITA at the workbench: gradients in, a Proposal of masks and new values out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from synobench.gradients import SampleGradients, drop_rows
from synobench.surgery import Proposal
from synobench.workbench import Workbench
from synobench_chita.params import Chita, ChitaStages
from synobench_chita.quadratic import Quadratic
from synobench_chita.schedules import sparsities
from synobench_chita.setting import drawn, kept, put, quadratic, settings_of, tensors_of
from synobench_chita.solve import Settings, Solution, solve, without_first_order
from synobench_chita.support import hard_threshold
from synobench_chita.trials import Trials


class SingleStage:
    """Solve once, at the trained weights (Algorithms 2 and 4 to 6)."""

    def __init__(self, params: Chita) -> None:
        self.params = params

    def prune(self, bench: Workbench) -> Proposal:
        """Solve with each ridge of the grid and keep what validation data likes best."""
        trials = Trials(bench, self.params)
        trials.run()
        ridge = trials.preferred()
        return _proposal(bench, trials.found[ridge], trials.measurements(ridge))


class MultiStage:
    """Solve in stages of rising sparsity, with fresh gradients each time (Algorithm 1). Removed weights may return."""

    def __init__(self, params: ChitaStages) -> None:
        self.params = params

    def prune(self, bench: Workbench) -> Proposal:
        """Go through the schedule; the last stage's solution is proposed."""
        settings, counts = settings_of(self.params, bench), _counts(bench, self.params)
        for stage in range(len(counts)):
            solution, told = self._stage(bench, stage, counts, settings)
        return _proposal(bench, solution, told)

    def _stage(
        self, bench: Workbench, stage: int, counts: list[int], settings: Settings
    ) -> tuple[Solution, dict[str, float]]:
        """Take gradients, solve, and go on from the solution; the gradients are let go before the next are taken."""
        asked, count = self.params, counts[stage]
        gradients = bench.sample_gradients(drawn(bench, asked), asked.size, salt=stage)
        found = _strode(bench, _solved(gradients, count, asked, settings), asked, settings)
        put(bench, found.solution.weights)
        bench.progress(stage + 1, len(counts), kept=count)
        last = stage == len(counts) - 1
        told = _measured(gradients, found, counts, asked) if last else {}
        return Solution(found.solution.weights, found.solution.support), told


@dataclass(frozen=True)
class Solved:
    """A problem, and its solution."""

    problem: Quadratic
    solution: Solution


def _counts(bench: Workbench, asked: ChitaStages) -> list[int]:
    """Return how many weights each stage keeps."""
    total, last = sum(weight.numel() for weight in bench.prunable.values()), kept(bench)
    goals = sparsities(asked.schedule, asked.stages, asked.start, 1.0 - last / total, asked.settle)
    return [*(max(last, round((1.0 - goal) * total)) for goal in goals[:-1]), last]


def _solved(gradients: SampleGradients, count: int, asked: ChitaStages, how: Settings) -> Solved:
    problem = quadratic(drop_rows(gradients, asked.ridge, asked.drop), asked.ridge, asked.alpha)
    return Solved(problem, solve(problem, count, how))


def _strode(bench: Workbench, found: Solved, asked: ChitaStages, how: Settings) -> Solved:
    """Return the solution whose first-order part is the multiple, of `strides`, of least loss on training images."""
    if asked.strides == (1.0,) or not asked.alpha:
        return found
    rest = without_first_order(found.problem, found.solution, how)
    way = found.solution.weights - rest
    losses = {}
    with bench.trial(), torch.no_grad():
        for stride in asked.strides:
            put(bench, rest + stride * way)
            losses[stride] = sum(float(bench.loss(batch)) for batch in bench.calibration(1, asked.look))
    best = min(losses, key=losses.__getitem__)
    return replace(found, solution=Solution(rest + best * way, found.solution.support))


def _measured(gradients: SampleGradients, found: Solved, counts: list[int], asked: ChitaStages) -> dict[str, float]:
    """Return what the record is told of the last stage."""
    whole = quadratic(gradients, asked.ridge, asked.alpha)
    return {
        "objective_magnitude": whole.value(hard_threshold(whole.dense, counts[-1])),
        "objective": whole.value(found.solution.weights),
        "k": float(counts[-1]),
        "n": float(gradients.drawn),
        "rows": float(found.problem.rows),
        "ridge": asked.ridge,
        "stages": float(len(counts)),
    }


def _proposal(bench: Workbench, found: Solution, measurements: dict[str, float]) -> Proposal:
    weights = found.weights.to(next(iter(bench.prunable.values())).dtype)
    return Proposal(tensors_of(bench, found.support), tensors_of(bench, weights), measurements)
