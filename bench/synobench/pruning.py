"""How a pruner acts on the one timeline: before, during and after training, and in fine-tuning."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from synobench import seeds
from synobench.entries import PrunerEntry
from synobench.errors import ContractError
from synobench.feed import Batch
from synobench.gradients import SampleGradients, screen, shared
from synobench.jobs import Job
from synobench.ledger.recorder import Recorder
from synobench.measurements import ROOM, TRAINING, tidy
from synobench.networks import evaluating, steps_of
from synobench.rules import Session
from synobench.store import key_of
from synobench.surgery import Proposal, Referee
from synobench.tensors import Tree, digest, load_tree, save_tree
from synobench.training import Phase
from synobench.workbench import Target, Tools, Workbench


@dataclass
class Pruning:
    """A pruner at work on one network.

    Args:
        model: the network that the referee masks; the pruner sees a copy of it in `prune`, itself in `step`.
        state: what the pruner keeps for itself (``bench.state``).
        parent: the digest of the parent's weights, where the network starts from them: gradients there are shared.
    """

    job: Job
    model: nn.Module
    state: dict[str, Any] = field(default_factory=dict)
    measurements: dict[str, float] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    parent: str | None = None

    def __post_init__(self) -> None:
        self.pruner, self.found = self.job.pruner()
        self.referee = Referee(self.model, self.job.inputs["model"]["prunable"])

    @property
    def entry(self) -> PrunerEntry:
        """The pruner's entry."""
        entry = self.found.entry
        assert isinstance(entry, PrunerEntry)
        return entry

    def left(self) -> dict[str, Any]:
        """Return what a resumed run needs: masks, state, measurements and what was shared."""
        return {
            "masks": self.referee.masks,
            "state": self.state,
            "measurements": self.measurements,
            "shared": self.shared,
        }

    def resume(self, left: Mapping[str, Any]) -> None:
        """Take back what `left` returned."""
        self.referee.masks = dict(left["masks"])
        for name in ("state", "measurements", "shared"):
            getattr(self, name).update(left[name])

    def acts(self, when: str) -> bool:
        """Say whether the pruner acts at a point of the timeline."""
        return when in self.entry.when

    def prune(self) -> None:
        """Let the pruner propose on a working copy, and apply what it proposes."""
        job = self.job
        seeds.reseed(job.inputs["seed"], "prune")
        bench = self._bench(copy.deepcopy(self.model).eval())
        with job.stage.at("prune", self.found), job.meter.phase("prune"), job.meter.watch(bench.model):
            self._accept(self.pruner.prune(bench))

    def stepper(self, method: str) -> Callable[[int], None]:
        """Return what calls ``step`` or ``adjust`` after each update, on the network itself."""
        bench = self._bench(self.model)
        call = getattr(self.pruner, method)

        def after_update(i: int) -> None:
            before = {name: value.clone() for name, value in self.model.state_dict().items()}
            with self.job.stage.at(method, self.found), self.job.meter.phase("prune"):
                with evaluating(self.model):
                    proposal = call(bench, i)
                if not _same(before, self.model.state_dict()):
                    raise ContractError(f"{method} changed the network; only a Proposal counts")
                if proposal is not None:
                    self._accept(proposal)

        return after_update

    def penalty(self) -> Callable[[], Tensor] | None:
        """Return the pruner's term for the training loss, if it has one."""
        call = getattr(self.pruner, "penalty", None)
        if call is None:
            return None
        bench = self._bench(self.model)

        def term() -> Tensor:
            with self.job.stage.at("penalty", self.found):
                found: Tensor = call(bench)
            return found

        return term

    def _accept(self, proposal: Any) -> None:
        if not isinstance(proposal, Proposal):
            raise ContractError(f"it returned {type(proposal).__name__}, not a Proposal")
        told = {str(name): float(value) for name, value in proposal.measurements.items()}
        broken = [name for name, value in told.items() if not math.isfinite(value)]
        if broken:
            raise ContractError(f"its measurements {', '.join(broken)} are not finite")
        if taken := [name for name in told if name.startswith(TRAINING)]:
            raise ContractError(f"its measurement {taken[0]!r} is called as one of training's: {TRAINING}... is taken")
        tidy({**self.measurements, **told}, ROOM["pruner"])
        self.referee.apply(proposal, self.entry)
        self.measurements.update(told)

    def _bench(self, model: nn.Module) -> Workbench:
        job = self.job
        tools = Tools(
            feed=job.training,
            validation=job.validation,
            seed=job.inputs["seed"],
            batch=job.inputs["budget"]["batch"],
            patterns=list(job.inputs["model"]["prunable"]),
            meter=job.meter,
            count=self._count,
            tune=self._tune,
            once=self._once,
            notify=job.notify,
            share=self._share,
        )
        target = job.inputs["target"]
        goal = Target(target["name"], target.get("value"), target.get("counter"))
        return Workbench(model, tools, goal, self.state)

    def _count(self, model: nn.Module, batches: Iterator[Batch], counter: str) -> float:
        entry = self.job.registry.get("counter", counter)
        recorder = Recorder(model, steps_of(model))
        with recorder:
            for inputs, _ in batches:
                model(inputs)
        return float(entry.load()(recorder.ledger())[entry.headline])

    def _tune(self, model: nn.Module, epochs: int, salt: int, masks: Mapping[str, Tensor]) -> None:
        referee = Referee(model, self.job.inputs["model"]["prunable"])
        referee.apply(Proposal(masks), self.entry)
        rule, _, _ = self.job.rule("tune")
        phase = Phase(
            session=session_of(self.job, model, f"trial {salt}", epochs),
            rule=rule,
            meter=self.job.meter,
            validation=None,
            referee=referee,
            charged="prune",
        )
        phase.run()

    def _once(self, name: str, make: Callable[[], Tree]) -> Tree:
        family = key_of({k: v for k, v in self.job.inputs.items() if k not in ("target", "suite")})
        path = self.job.kept("once", family) / f"{key_of({'name': name})[:16]}.safetensors"
        if path.exists():
            kept = load_tree(path, self.job.device)
            self.job.meter.charge("prune", kept["cost"])
        else:
            before = self.job.meter.as_dict()["prune"]
            made = {"name": name, "value": make()}
            save_tree(path, {**made, "cost": _difference(self.job.meter.as_dict()["prune"], before)})
            # Read back, so that whoever made it and whoever finds it go on from the same tensors.
            kept = load_tree(path, self.job.device)
        self.shared[name] = kept["cost"]
        return kept["value"]

    def _share(
        self, model: nn.Module, ask: Mapping[str, Any], make: Callable[[], SampleGradients], sealed: bool
    ) -> SampleGradients:
        """Return gradients; those at the parent's own weights are made once for all its targets and pruners.

        They are charged in full, once a run. Inside `once` they are charged whenever that is made, for its own cost
        must hold them.
        """
        if "per-sample-gradients" not in self.entry.needs:
            raise ContractError("it asks for per-sample gradients; say so in its entry: needs={'per-sample-gradients'}")
        if self.parent is None or digest(model.state_dict()) != self.parent:
            return make()
        own = {name: self.job.inputs[name] for name in ("seed", "dataset", "model", "neuron")}
        parent = {"parent": self.job.facts["parent_key"], "weights": self.parent}
        screening = {"screening": screen.REVISION} if ask["screen"] < 1 else {}
        key = key_of({**own, **parent, "ask": ask, "revision": shared.REVISION, **screening})
        path = self.job.kept("gradients", key) / "gradients.safetensors"
        name = f"sample gradients {key[:16]}"
        found = path.exists()
        if not found:
            before = self.job.meter.as_dict()["prune"]
            made = make()
            shared.save(path, made, _difference(self.job.meter.as_dict()["prune"], before))
            # Mapped like those that others find, so that the memory in which they were made is free again.
            del made
        gradients, cost = shared.load(path, self.job.device)
        if found and (sealed or name not in self.shared):
            self.job.meter.charge("prune", cost)
        self.shared[name] = cost
        return gradients


def _same(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> bool:
    """Say whether no value changed; where training diverged, NaN equals NaN."""
    if before.keys() != now.keys():
        return False
    exactly = {"rtol": 0.0, "atol": 0.0, "equal_nan": True}
    return all(torch.equal(v, now[n]) or torch.allclose(v, now[n], **exactly) for n, v in before.items())  # type: ignore[arg-type]


def _difference(after: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was spent in between; of peaks the later one stands, and what could not be told stays untold."""
    untold = {name for name in after if after[name] is None or before[name] is None} - {"peak_bytes"}
    spent = {name: after[name] - before[name] for name in after if name not in untold | {"peak_bytes"}}
    return {**spent, **dict.fromkeys(untold), "peak_bytes": after["peak_bytes"]}


def session_of(job: Job, model: nn.Module, phase: str, epochs: int, **more: Any) -> Session:
    """Return a session on the job's training split."""
    budget = job.inputs["budget"]
    return Session(
        model=model,
        feed=job.training,
        phase=phase,
        epochs=epochs,
        batch=budget["batch"],
        seed=job.inputs["seed"],
        spiking=job.inputs["neuron"] is not None,
        precision=budget["precision"],
        network=job.inputs["model"]["name"],
        meter=job.meter,
        **more,
    )
