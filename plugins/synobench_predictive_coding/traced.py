"""Inference on the states of a perceptron without buffers, for torch.compile: the algebra of `sweeps`, one expression.

What is written here as many small operations becomes a few, which no list of calls into torch can.  What every sweep
adds to a product is written as a difference: torch makes one operation of product and sum, which copies the summand
first, where a difference joins the operations that follow.  Nothing is counted: a compiled batch is counted as it first
runs, not compiled.
"""

from __future__ import annotations

from torch import Tensor

from synobench.stages import Trace
from synobench.stages.products import affine, product
from synobench_predictive_coding.inference import Inferred, Task
from synobench_predictive_coding.sweeps import Layer, pays


def infer(task: Task) -> Inferred:
    """Relax the states; no energy is looked at."""
    held = Held(task)
    for sweep in range(1, task.how.steps + 1):
        held.sweep(max(0, held.last - sweep) if task.how.wavefront else 0)
    return held.inferred()


class Held:
    """States x, sums x W' + b, predictions and errors of each stage; entry i is of stage i + 1, as in `states`.

    The first error is `move`, or with K = W W' the rows u of which it is u W; `gram` is -K.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.last = task, len(task.chain) - 1
        traces, self.stages = task.traces, [Layer(link) for link in task.chain.links[1:]]
        weight = self.stages[0].weight
        self.gram = -(weight @ weight.t()) if pays(self.stages[0], task.how, len(traces[0].y)) else None
        self.base, self.first = traces[1].tapes[0][1], traces[0].y
        self.move = (self.first if self.gram is None else self.base) * 0.0
        self.states = [trace.y for trace in traces[:-1]]
        self.sums = [self.first, *(trace.tapes[0][1] for trace in traces[1:])]
        self.acts, self.told = list(self.sums), [trace.y for trace in traces]
        for i in range(1, len(traces)):
            self._predict(i, traces[i].x)
        self.errors = [y * 0.0 for y in self.told]
        self.errors[-1] = task.output.error(self.told[-1])

    def sweep(self, low: int) -> None:
        """Move the states from stage `low` + 1 on, all at once, and take predictions and errors anew."""
        gamma, old = self.task.how.gamma, list(self.errors)
        pulls = [self._pulled(i + 1, old[i + 1]) for i in range(self.last)]
        if low == 0:
            self._lowest(pulls[0], old[1])
        middle = range(max(low, 1), self.last)
        for i in middle:
            stage = self.stages[i]
            pull = product(pulls[i], stage.weight)
            moved = self.states[i] - gamma * old[i] + (gamma * (stage.skip or 1.0)) * pull
            self.states[i] = moved + gamma * old[i + 1] if stage.skip else moved
        for i in middle:
            self.sums[i + 1] = affine(self.states[i], self.stages[i].weight, self.stages[i].bias)
            self._predict(i + 1, self.states[i])
        for i in middle:
            self.errors[i] = self.states[i] - self.told[i]
        self.errors[-1] = self.task.output.error(self.told[-1])

    def inferred(self) -> Inferred:
        """Return the point as `states` does."""
        first = self.move if self.gram is None else self.move @ self.stages[0].weight
        self.states[0] = self.first + first
        traces, x = [self.task.traces[0]], self.states[0]
        for i, stage in enumerate(self.stages, start=1):
            tapes = [(x, self.sums[i]), *([stage.act.tape(self.sums[i], self.acts[i])] if stage.act else [])]
            traces.append(Trace(x, self.told[i], tuple(tapes)))
            x = self.states[i] if i < self.last else x
        return Inferred([first, *self.errors[1:]], traces, self.states, self.task.top)

    def _lowest(self, pull: Tensor, above: Tensor) -> None:
        """Move the first error, and take the second stage's prediction anew."""
        stage, gamma = self.stages[0], self.task.how.gamma
        if self.gram is not None:
            self.move = (1 - gamma) * self.move + gamma * pull
            self.sums[1] = self.base - product(self.move, self.gram)
            self._predict(1, self.first)
            return
        self.move = (1 - gamma) * self.move + (gamma * (stage.skip or 1.0)) * product(pull, stage.weight)
        if stage.skip:
            self.move = self.move + gamma * above
        self.sums[1] = self.base + product(self.move, stage.weight.t())
        self._predict(1, self.first + self.move)

    def _predict(self, i: int, x: Tensor) -> None:
        """Take stage i's prediction from its sums, at the input x."""
        stage = self.stages[i - 1]
        self.acts[i] = self.sums[i] if stage.act is None else stage.act.forward(self.sums[i])[0]
        self.told[i] = x + stage.skip * self.acts[i] if stage.skip else self.acts[i]

    def _pulled(self, i: int, error: Tensor) -> Tensor:
        """Return stage i's error pulled through its function."""
        act = self.stages[i - 1].act
        return error if act is None else act.pull(act.tape(self.sums[i], self.acts[i]), error)
