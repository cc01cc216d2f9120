"""Parents: the networks that stand before pruning, trained once a seed or read from a checkpoint, cached and shared."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from synobench import networks, seeds
from synobench.adoption import adopt
from synobench.entries import RuleEntry
from synobench.errors import BenchError, ContractError
from synobench.gauge import Gauge
from synobench.jobs import Job
from synobench.pruning import Pruning, session_of
from synobench.store import document, write_atomically
from synobench.tensors import digest, load_tree, save_tree
from synobench.training import Phase


@dataclass(frozen=True)
class Parent:
    """A trained network: its weights and buffers, and what it cost, its curve and digest.

    Where a pruner trained along, its masks and what it keeps for itself.
    """

    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    pruner_state: Mapping[str, Any]
    facts: Mapping[str, Any]


class Checkpoint:
    """A file that holds what a run needs to go on, written at most every few seconds (the job's own choice, or 10)."""

    def __init__(self, path: Path, job: Job) -> None:
        self.path, self._job, self._last = path, job, time.monotonic()
        self._seconds = float(job.facts.get("checkpoint_seconds", 10))
        self._made_by = {name: digest for name, (_, _, digest) in job.plugins.items()}

    def load(self) -> Any:
        """Return what was last saved, or None; a damaged file, or one that other code began, counts as none."""
        if not self.path.exists():
            return None
        try:
            tree = load_tree(self.path, self._job.device)
            if tree["made_by"] == self._made_by:
                return tree
        except Exception:  # noqa: BLE001 - losing a checkpoint costs time, trusting a broken one costs the result
            pass
        self.path.unlink(missing_ok=True)
        return None

    def save(self, tree: Any) -> None:
        """Save, unless the last save was moments ago."""
        if time.monotonic() - self._last >= self._seconds:
            save_tree(self.path, {**tree, "made_by": self._made_by})
            self._last = time.monotonic()

    def clear(self) -> None:
        """Forget it: the run is done."""
        for left in (self.path, *self.path.parent.glob(f".{self.path.name}.*")):
            left.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()  # a cell's folder holds nothing else; a parent's is not empty and stays


def obtain(job: Job) -> Parent:
    """Return the parent that a job's inputs name, from the cache, or trained or read from its checkpoint now.

    The job's ``parent`` holds the inputs of the parent, its ``parent_key`` their digest.
    """
    folder = job.kept("parents", job.facts["parent_key"])
    if not (folder / "parent.json").exists():
        _make(job, folder)
    try:
        facts = json.loads((folder / "parent.json").read_text())
        kept = load_tree(folder / "weights.safetensors", job.device)
        whole = digest(kept["model"]) == facts["weights"]
    except (BenchError, OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise BenchError(f"the parent in {folder} is damaged; delete that folder and run again")
    return Parent(kept["model"], kept["masks"], kept.get("state", {}), facts)


def _make(job: Job, folder: Path) -> None:
    """Make a parent as a job of its own."""
    own = Job({**job.facts, "inputs": _with_pruner(job)}, job.notify, job.stage)
    if "checkpoint" in job.facts["parent"]:
        adopt(own, folder)
    else:
        _train(own, folder)


def _train(own: Job, folder: Path) -> None:
    """Train the parent and keep it: weights, initial weights, the rule's state, then the facts."""
    seeds.reseed(own.inputs["seed"], "parent")
    with own.stage.at("build"):
        model = networks.build(own.inputs, own.registry, own.device)
    save_tree(folder / "initial.safetensors", {"model": model.state_dict()})
    rule, entry, found = own.rule("rule")
    pruning = Pruning(own, model) if own.inputs.get("pruner") else None
    resume = Checkpoint(folder / "resume.safetensors", own)
    phase = Phase(
        session=session_of(own, model, "train", own.inputs["budget"]["train_epochs"]),
        rule=rule,
        meter=own.meter,
        validation=own.validation,
        notify=own.notify,
        gauge=(gauge := Gauge(own.inputs["model"]["prunable"])),
        saved=lambda tree: resume.save({**tree, "meter": own.meter.state(), **_pruned(pruning)}),
    )
    resumed = resume.load()
    if resumed is not None:
        own.meter.restore(resumed["meter"])
    with own.meter.watch(model):
        _join(pruning, phase, entry, resumed)
        with own.stage.at("train", found):
            phase.run(resumed)
            training = gauge.told(model, rule)
    save_tree(folder / "rule.safetensors", rule.state())
    left = _pruned(pruning)
    kept = {"model": model.state_dict(), "masks": left["masks"], "state": left["state"]}
    save_tree(folder / "weights.safetensors", kept)
    facts = {
        "inputs": own.facts["parent"],
        "cost": own.meter.as_dict(),
        "curve": phase.curve,
        "measurements": left["measurements"],
        "training": training,
        "shared": left["shared"],
        "weights": digest(model.state_dict()),
        "device": own.device,
        "plugins": {name: {"digest": found} for name, (_, _, found) in own.plugins.items()},
        "resumed": resumed is not None,
        "yardstick": own.facts.get("yardstick"),
    }
    write_atomically(folder / "parent.json", document(facts).encode())
    resume.clear()


def _with_pruner(job: Job) -> dict[str, Any]:
    """Return the parent's inputs in the shape of a cell's, so that the same tools serve both."""
    return {"pruner": None, "target": {"name": "none"}, **job.facts["parent"]}


def _pruned(pruning: Pruning | None) -> dict[str, Any]:
    if pruning is None:
        return {"masks": {}, "state": {}, "measurements": {}, "shared": {}}
    return pruning.left()


def _join(pruning: Pruning | None, phase: Phase, rule: RuleEntry, resumed: Any) -> None:
    """Let a pruner that acts before or during training take part in it."""
    if pruning is None:
        return
    phase.referee = pruning.referee
    if resumed is not None:
        pruning.resume(resumed)
    elif pruning.acts("initialisation"):
        pruning.prune()
    if pruning.acts("training"):
        phase.session.penalty = term = pruning.penalty()
        with pruning.job.stage.at("penalty", pruning.found):
            if term is not None and not rule.penalty:
                raise ContractError(f"it adds a penalty to the loss, and rule {rule.name!r} takes none")
        if term is None or hasattr(pruning.pruner, "step"):
            phase.after_update = pruning.stepper("step")
