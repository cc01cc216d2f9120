"""CBS at the workbench: gradients in, the removed set and the joint step out."""

from __future__ import annotations

import torch
from torch import Tensor

from synobench.fisher import blocks, fisher_loss, joint_step
from synobench.gradients import SampleGradients, drop_rows
from synobench.surgery import Proposal
from synobench.workbench import Workbench
from synobench_cbs import CBS
from synobench_cbs.search import Judge, Programme, randomised, search


class Surgeon:
    """CBS-S, and CBS-U where it is asked for."""

    def __init__(self, params: CBS) -> None:
        self.params = params

    def prune(self, bench: Workbench) -> Proposal:
        """Choose the set that goes, then move what stays."""
        asked = self.params
        gradients = drop_rows(bench.sample_gradients(asked.samples, asked.size), asked.damp, asked.drop)
        masks = bench.keep_highest({name: weight.abs() for name, weight in bench.prunable.items()}).masks
        gone = torch.cat([~masks[s.name].reshape(-1) for s in gradients.spans])
        parts = blocks(gradients.spans, asked.block)
        programme = Programme(gradients.matrix, gradients.weights.double(), parts, gradients.drawn, asked.damp, gone)
        judge = self._judge(bench, gradients) if asked.judge == "loss" else None
        self._start(bench, programme, judge)
        begun = programme.value()
        sweeps = search(programme, asked.threshold, asked.reach, asked.failures, asked.sweeps, judge)
        weights = self._moved(gradients, ~programme.gone)
        told = {"selection_start": begun, "selection_end": programme.value(), "sweeps": float(sweeps)}
        told |= {**gradients.told, "fisher_loss": fisher_loss(gradients, weights)}
        return Proposal(gradients.unflatten(~programme.gone), gradients.unflatten(weights), told)

    def _judge(self, bench: Workbench, gradients: SampleGradients) -> Judge:
        """Return the loss of some training images as a function of the weights that go."""
        size = min(self.params.look, 250)
        batches = list(bench.calibration(-(-self.params.look // size), size))

        def loss(gone: Tensor) -> float:
            with bench.trial(), torch.no_grad():
                lent = bench.prunable
                for name, out in gradients.unflatten(gone).items():
                    lent[name][out] = 0.0
                return sum(float(bench.loss(batch)) * len(batch[1]) for batch in batches)

        return loss

    def _start(self, bench: Workbench, programme: Programme, judge: Judge | None) -> None:
        """Leave the programme at the best of plain and randomised magnitude pruning."""

        def bad() -> float:
            return judge(programme.gone) if judge else programme.value()

        best, least, kept = programme.gone, bad(), int((~programme.gone).sum())
        for draw in range(self.params.draws):
            programme.gone = randomised(programme.weights, kept, bench.generator(f"randomised magnitude {draw}"))
            programme.image()
            if (found := bad()) < least:
                best, least = programme.gone, found
        programme.gone = best.clone()
        programme.image()

    def _moved(self, gradients: SampleGradients, keep: Tensor) -> Tensor:
        weights = gradients.weights.double()
        for part in blocks(gradients.spans, self.params.block) if self.params.update else ():
            weights[part] += joint_step(
                gradients.matrix[part], weights[part], keep[part], gradients.drawn, self.params.damp
            )
        return torch.where(keep, weights, 0.0).to(gradients.weights.dtype)
