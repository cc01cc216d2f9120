"""One stage, solved for each ridge: on all gradients at once, or on those of some tensors after the other."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from synobench.gradients import SampleGradients, drop_rows
from synobench.workbench import Workbench
from synobench_chita.params import Chita
from synobench_chita.setting import drawn, kept, put, quadratic, settings_of
from synobench_chita.solve import Solution, solve
from synobench_chita.support import largest
from synobench_chita.tally import Tally


class Trials:
    """The solutions for each ridge of the grid.

    Blocks know nothing of one another: where the gradients of all tensors do not fit the memory, they are made for a
    group of tensors, its blocks are solved, and they are let go. The support is that of the whole network.

    Args:
        bench: the workbench.
        asked: the parameters.
    """

    def __init__(self, bench: Workbench, asked: Chita) -> None:
        self.bench, self.asked, self.settings = bench, asked, settings_of(asked, bench)
        self.images, self.kept = drawn(bench, asked), kept(bench)
        self.memory = int(asked.memory * 1e9) or None
        dense = torch.cat([weight.flatten() for weight in bench.prunable.values()]).double()
        self.dense, self.magnitude = dense, largest(dense.abs(), self.kept)
        self.found = {r: Solution(torch.zeros_like(dense), torch.zeros_like(self.magnitude)) for r in asked.ridges}
        self.rows = dict.fromkeys(asked.ridges, 0)
        self.tally = Tally(self.images // asked.size, 1 + len(asked.ridges))
        self.groups = self._groups()

    def run(self) -> None:
        """Solve group by group."""
        start = 0
        for done, names in enumerate(self.groups):
            start = self._solve(names, start)
            self.bench.progress(done + 1, len(self.groups))

    def preferred(self) -> float:
        """Return the ridge of least loss on the first images of validation data's first half; of equals the largest."""
        if len(self.found) == 1:
            return next(iter(self.found))
        losses = {}
        with self.bench.trial(), torch.no_grad():
            for ridge, solution in self.found.items():
                put(self.bench, solution.weights)
                batches = self.bench.validation(half=0, limit=self.asked.look)
                losses[ridge] = sum(float(self.bench.loss(batch)) * len(batch[1]) for batch in batches)
        return min(losses, key=lambda ridge: (losses[ridge], -ridge))

    def measurements(self, ridge: float) -> dict[str, float]:
        """Return what the record is told of a ridge's solution."""
        values = self.tally.values([ridge, *self.found])
        return {
            "objective_magnitude": values[0],
            "objective": values[1 + list(self.found).index(ridge)],
            "k": float(self.kept),
            "n": float(self.images // self.asked.size),
            "rows": float(self.rows[ridge]),
            "ridge": ridge,
            "ridges": float(len(self.found)),
            "groups": float(len(self.groups)),
        }

    def _groups(self) -> list[tuple[str, ...]]:
        """Return the tensors to go through together; one group of all, where the algorithm sees the whole."""
        apart = self.settings.variant == "bso-block" and (self.settings.support == "magnitude" or not self.asked.alpha)
        groups = self.bench.gradient_groups(self.images // self.asked.size, self.memory) if apart else []
        return groups if len(groups) > 1 else [()]

    def _solve(self, names: tuple[str, ...], start: int) -> int:
        """Solve for the tensors named, whose weights begin at `start`; return where they end."""
        gradients, settings = self._gradients(names), self.settings
        part = slice(start, start + len(gradients.weights))
        if names:
            lengths = [span.stop - span.start for span in gradients.spans]
            settings = replace(settings, given=self.magnitude[part], lengths=lengths)
        for ridge, found in self.found.items():
            problem = quadratic(drop_rows(gradients, ridge, self.asked.drop), ridge, self.asked.alpha)
            solution = solve(problem, self.kept, settings)
            found.weights[part], found.support[part] = solution.weights, solution.support
            self.rows[ridge] = max(self.rows[ridge], problem.rows)
        self._count(gradients, part)
        return part.stop

    def _gradients(self, names: tuple[str, ...]) -> SampleGradients:
        screen = self.asked.screen if self.asked.size == 1 else 1.0
        return self.bench.sample_gradients(
            self.images,
            self.asked.size,
            names=names,
            screen=screen,
            total=self.asked.alpha > 0,
            memory=self.memory,
            kept=not names,
        )

    def _count(self, gradients: SampleGradients, part: slice) -> None:
        dense, magnitude = self.dense[part], torch.where(self.magnitude[part], self.dense[part], 0.0)
        weights: list[Tensor] = [magnitude, *(found.weights[part] for found in self.found.values())]
        linear = quadratic(gradients, 1.0, self.asked.alpha).linear
        self.tally.add(gradients, torch.stack(weights, 1) - dense.unsqueeze(1), linear)
