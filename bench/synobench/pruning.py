"""How a pruner acts on the one timeline: before, during and after training, and in fine-tuning."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from synobench import seeds
from synobench.entries import PrunerEntry
from synobench.errors import ContractError
from synobench.feed import Batch
from synobench.jobs import Job
from synobench.networks import steps_of
from synobench.recorder import Recorder
from synobench.rules import Session
from synobench.store import key_of
from synobench.surgery import Proposal, Referee
from synobench.tensors import Tree, load_tree, save_tree
from synobench.training import Phase
from synobench.workbench import Target, Tools, Workbench


@dataclass
class Pruning:
    """A pruner at work on one network.

    Args:
        model: the network that the referee masks; the pruner sees a copy of it in `prune`, itself in `step`.
        state: what the pruner keeps for itself (``bench.state``).
    """

    job: Job
    model: nn.Module
    state: dict[str, Any] = field(default_factory=dict)
    measurements: dict[str, float] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pruner, self.found = self.job.pruner()
        self.referee = Referee(self.model, self.job.inputs["model"]["prunable"])

    @property
    def entry(self) -> PrunerEntry:
        """The pruner's entry."""
        entry = self.found.entry
        assert isinstance(entry, PrunerEntry)
        return entry

    def acts(self, when: str) -> bool:
        """Say whether the pruner acts at a point of the timeline."""
        return when in self.entry.when

    def prune(self) -> None:
        """Let the pruner propose on a working copy, and apply what it proposes."""
        job = self.job
        seeds.reseed(job.inputs["seed"], "prune")
        bench = self._bench(copy.deepcopy(self.model))
        with job.stage.at("prune", self.found), job.meter.phase("prune"), job.meter.watch(bench.model):
            self._accept(self.pruner.prune(bench))

    def stepper(self, method: str) -> Callable[[int], None]:
        """Return what calls ``step`` or ``adjust`` after each update, on the network itself."""
        bench = self._bench(self.model)
        call = getattr(self.pruner, method)

        def after_update(i: int) -> None:
            before = [p._version for p in self.model.parameters()]
            with self.job.stage.at(method, self.found), self.job.meter.phase("prune"):
                proposal = call(bench, i)
                if before != [p._version for p in self.model.parameters()]:
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
        return lambda: call(bench)  # type: ignore[no-any-return]

    def _accept(self, proposal: Any) -> None:
        if not isinstance(proposal, Proposal):
            raise ContractError(f"it returned {type(proposal).__name__}, not a Proposal")
        self.referee.apply(proposal, self.entry)
        self.measurements.update({name: float(value) for name, value in proposal.measurements.items()})

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
            validation=self.job.validation,
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
            kept = {"name": name, "value": make()}
            kept["cost"] = _difference(self.job.meter.as_dict()["prune"], before)
            save_tree(path, kept)
        self.shared[name] = kept["cost"]
        return kept["value"]


def _difference(after: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was spent in between; of peaks the later one stands."""
    spent = {name: after[name] - before[name] for name in after if name != "peak_bytes"}
    return {**spent, "peak_bytes": after["peak_bytes"]}


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
        **more,
    )
