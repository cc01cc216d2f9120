"""Pruners of a few lines for every place on the timeline, well and badly behaved, as one local plugin file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from synobench import PrunerEntry, RuleEntry, hookimpl, param


@dataclass(frozen=True)
class Early:
    """Random masks before training."""

    def prune(self, bench: Any) -> Any:
        import torch

        draws = bench.generator()
        scores = {n: torch.rand(w.shape, generator=draws) for n, w in bench.prunable.items()}
        return bench.keep_highest(scores, seen=float(sum(float(w.abs().sum()) for w in bench.prunable.values())))


@dataclass(frozen=True)
class Regrow:
    """Every `every` updates the smallest half of each tensor goes; what was gone may come back."""

    every: int = param(3, low=1, doc="updates between two masks")

    def step(self, bench: Any, i: int) -> Any:
        from synobench.surgery import Proposal

        rounds = bench.state.setdefault("rounds", [])
        rounds.append(i)
        if i % self.every:
            return None
        odd = (i // self.every) % 2
        scores = bench.mean_gradients(1) if odd else {n: w.abs() for n, w in bench.prunable.items()}
        masks = {n: s.abs() > s.abs().flatten().median() for n, s in scores.items()}
        bench.state["grown"] = bench.state.get("grown", 0) + grown(bench, masks)
        return Proposal(masks, measurements={"rounds": len(rounds), "grown": bench.state["grown"]})


def grown(bench: Any, masks: Any) -> int:
    """Return how many weights that are zero now may grow again."""
    return sum(int((masks[n] & (w == 0)).sum()) for n, w in bench.prunable.items())


@dataclass(frozen=True)
class Penalised:
    """An L1 term in training, magnitude afterwards."""

    strength: float = param(0.01, low=0.0, doc="of the term")

    def penalty(self, bench: Any) -> Any:
        return self.strength * sum(p.abs().sum() for p in bench.model.parameters())

    def prune(self, bench: Any) -> Any:
        return bench.keep_highest({n: w.abs() for n, w in bench.prunable.items()})


@dataclass(frozen=True)
class Adjusting:
    """State from training goes on in fine-tuning; there every update lets one more weight go."""

    def step(self, bench: Any, i: int) -> None:
        bench.state["trained"] = i

    def prune(self, bench: Any) -> Any:
        return bench.keep_highest({n: w.abs() for n, w in bench.prunable.items()})

    def adjust(self, bench: Any, done: int) -> Any:
        from synobench.surgery import Proposal

        name, weight = next(iter(bench.prunable.items()))
        mask = weight != 0
        alive = weight.abs().where(mask, weight.new_tensor(float("inf")))
        mask.view(-1)[int(alive.argmin())] = False
        return Proposal({name: mask}, measurements={"trained": bench.state["trained"], "adjusted": done})


@dataclass(frozen=True)
class Sharing:
    """Scores made once for all targets, after looking at gradients and candidates."""

    def prune(self, bench: Any) -> Any:
        def make() -> Any:
            gradients = bench.mean_gradients(2)
            return {n: (w * gradients[n]).abs() for n, w in bench.prunable.items()}

        scores = bench.once("scores", make)
        proposal = bench.keep_highest(scores)
        return dataclasses.replace(proposal, measurements={"accuracy": bench.evaluate(proposal.masks).accuracy})


@dataclass(frozen=True)
class Tuning:
    """Fine-tunes of the working copy in trials that are rolled back; only the masks are proposed."""

    def prune(self, bench: Any) -> Any:
        masks = bench.keep_highest({n: w.abs() for n, w in bench.prunable.items()}).masks
        before = {n: w.clone() for n, w in bench.prunable.items()}
        with bench.trial():
            bench.fine_tune(1, masks)
            zero = all(not (w[~masks[n]] != 0).any() for n, w in bench.prunable.items())
        back = all(bool((w == before[n]).all()) for n, w in bench.prunable.items())
        from synobench.surgery import Proposal

        return Proposal(masks, measurements={"zero": float(zero), "back": float(back)})


TOLD = {
    "measurement": {"speed": float("nan")},
    "taken": {"train/largest-update": 1e-3},
    "many": {f"figure {i}": 0.5 for i in range(100)},
}
"""What is told of a network that no record takes."""

MODES = (
    "taken",
    "many",
    "type",
    "missing",
    "nan",
    "survivors",
    "raise",
    "exit",
    "sealed",
    "target",
    "measurement",
    "mask",
)


@dataclass(frozen=True)
class Bad:
    """Breaks its contract in one of many ways."""

    how: str = param(choices=MODES, doc="the way")

    def prune(self, bench: Any) -> Any:  # noqa: PLR0911
        from synobench.surgery import Proposal

        weights = bench.prunable
        masks = {n: w.abs() > 0 for n, w in weights.items()}
        first = next(iter(weights))
        if self.how == "type":
            return masks
        if self.how == "missing":
            return bench.keep_highest({first: weights[first]})
        if self.how == "nan":
            return bench.keep_highest({n: w * float("nan") for n, w in weights.items()})
        if self.how == "survivors":
            return Proposal(masks, tensors={first: weights[first] * 2})
        if self.how == "raise":
            raise ZeroDivisionError("divided\nby nothing")
        if self.how == "exit":
            raise SystemExit("gone")
        if self.how == "sealed":
            return bench.tools.count.__self__.job.splits.sealed.images
        if self.how == "target":
            return bench.once("scores", lambda: bench.keep_highest({n: w.abs() for n, w in weights.items()}))
        if self.how in TOLD:
            return Proposal(masks, measurements=TOLD[self.how])
        return Proposal({first: masks[first].float()})


@dataclass(frozen=True)
class Meddling:
    """Changes the network itself in training."""

    how: str = param(choices=("inplace", "data", "buffer", "mode", "evaluate", "trial", "loss"), doc="the way")

    def step(self, bench: Any, i: int) -> None:
        import torch

        weight = next(iter(bench.prunable.values()))
        if self.how == "inplace":
            weight.mul_(0.5)
        elif self.how == "data":
            next(iter(bench.model.parameters())).data.mul_(0.5)
        elif self.how == "buffer":
            for value in bench.model.buffers():
                value.add_(1)
        elif self.how == "mode":
            bench.model.train()
        elif self.how == "loss":
            with torch.no_grad():
                bench.loss(next(iter(bench.calibration(1))))
        elif self.how == "evaluate":
            bench.evaluate({n: w.abs() > 0.1 for n, w in bench.prunable.items()})
        else:
            with bench.trial():
                weight.zero_()


@dataclass(frozen=True)
class Still:
    """A rule that counts its epochs and changes nothing."""

    loss: float = param(1.0, doc="what it tells")

    def begin(self, session: Any) -> None:
        self.__dict__["epochs"] = 0

    def epoch(self, session: Any, epoch: int) -> Iterator[Any]:
        import torch

        from synobench.rules import Progress

        self.__dict__["epochs"] += 1
        for _, labels in session.batches(epoch):
            yield Progress(torch.tensor(self.loss if self.loss < 9 else float("inf")), labels.numel())

    def state(self) -> Any:
        return {"epochs": self.__dict__["epochs"]}

    def restore(self, state: Any) -> None:
        self.__dict__["epochs"] = state["epochs"]


@hookimpl
def synobench_rules() -> Iterator[RuleEntry]:
    """Register the rule that does nothing."""
    yield RuleEntry("still", summary="changes nothing", params=Still)


@hookimpl
def synobench_pruners() -> Iterator[PrunerEntry]:
    """Register all of them."""
    told = (
        ("early", Early, {"initialisation"}),
        ("regrow", Regrow, {"training"}),
        ("penalised", Penalised, {"training", "trained"}),
        ("adjusting", Adjusting, {"training", "trained", "fine-tuning"}),
        ("sharing", Sharing, {"trained"}),
        ("tuning", Tuning, {"trained"}),
        ("bad", Bad, {"trained"}),
        ("meddling", Meddling, {"training"}),
    )
    shares = {"sparsity", "parameters", "synops"}
    for name, params, when in told:
        yield PrunerEntry(name, summary=f"{name}, for tests", params=params, when=when, targets=shares)
