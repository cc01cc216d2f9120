"""Suites: a frozen protocol -> cells -> keys. Nothing here imports torch: what is planned is plain data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from synobench.entries import NO_RULE, CheckpointEntry, Entry, ModelEntry, NeuronEntry, PrunerEntry
from synobench.errors import BenchError
from synobench.params import as_dict, parse_spec, resolve
from synobench.protocol import Network, Suite, parse
from synobench.registry import Registry
from synobench.store import key_of

__all__ = ["PROTOCOL", "Cell", "Network", "Skipped", "Suite", "cells", "find_suite", "parse", "target_text"]

PROTOCOL = 1
"""Revision of the bench's own protocol (split, seeds, schedule, referee, judging); part of each key."""

BEFORE = frozenset({"initialisation", "training"})
"""A pruner that acts then makes its own parent."""


@dataclass(frozen=True)
class Cell:
    """One point of a suite. `parent` holds the inputs of the network before pruning, `network` is its label.

    `twins` says whether the suite asks for twins of its pruner; like the labels it is in no key.
    """

    inputs: Mapping[str, Any]
    parent: Mapping[str, Any]
    network: str
    label: str
    twins: bool = False
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", key_of(self.inputs))

    @property
    def parent_key(self) -> str:
        """The key of the parent's job."""
        return str(self.inputs["parent"]["key"])


@dataclass(frozen=True)
class Skipped:
    """A combination that the suite names and that cannot be, with the reason."""

    label: str
    reason: str


def find_suite(name: str, registry: Registry) -> Suite:
    """Return a suite by its registered name, or read from a TOML file.

    Raises:
        BenchError: there is none, or it is not well formed.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise BenchError(f"suite file {name} does not exist")
        try:
            return parse(path.read_text(encoding="utf-8"), name)
        except UnicodeDecodeError:
            raise BenchError(f"suite file {name} is not UTF-8 text") from None
    entry: Entry = registry.get("suite", name)
    return parse(entry.load()(), f"suite {name}")


def cells(suite: Suite, registry: Registry) -> tuple[list[Cell], list[Skipped]]:
    """Resolve a suite into its cells, in a fixed order, and what it names but cannot be.

    Raises:
        BenchError: an entry is unknown, or a parameter is out of range.
    """
    made: dict[str, Cell] = {}
    skipped: list[Skipped] = []
    _counted(suite, registry)
    for network, label in zip(suite.networks, _labels(suite.networks), strict=True):
        for spec in network.pruners or suite.pruners:
            entry: PrunerEntry = registry.get("pruner", parse_spec(spec)[0])
            targets = _reachable(entry, network.targets or suite.targets)
            if reason := _unable(entry, network, targets):
                skipped.append(Skipped(f"{label}/{spec}", reason))
                continue
            for target, seed in itertools.product(targets, suite.seeds):
                name = f"{label}/{spec}/{target_text(target)}/seed={seed}"
                cell = Cell(*_inputs(suite, network, spec, target, seed, registry), label, name, network.twins)
                # One spec may be written in two ways: what has one key is run once.
                made.setdefault(cell.key, cell)
    return list(made.values()), skipped


def with_pruners(suite: Suite, specs: Sequence[str]) -> Suite:
    """Return a suite that runs further pruners on each of its networks."""
    networks = (replace(n, pruners=_each((*n.pruners, *specs))) if n.pruners else n for n in suite.networks)
    return replace(suite, pruners=_each((*suite.pruners, *specs)), networks=tuple(networks))


def in_parts(suite: Suite) -> Iterator[Suite]:
    """Yield the suite as suites of one network and one pruner each."""
    for network in suite.networks:
        for spec in network.pruners or suite.pruners:
            yield replace(suite, pruners=(spec,), networks=(replace(network, pruners=()),))


def _each(specs: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(specs))


def _unable(entry: PrunerEntry, network: Network, targets: Sequence[Mapping[str, Any]]) -> str:
    """Say why a pruner cannot be run on a network; nothing where it can."""
    if network.checkpoint and (early := sorted(entry.when & BEFORE)):
        return f"it acts in {' and '.join(early)}, and checkpoint {network.checkpoint} is trained already"
    return "" if targets else f"it aims at {', '.join(sorted(entry.targets))}"


def _counted(suite: Suite, registry: Registry) -> None:
    """Refuse counters and metrics that nobody registered before a run depends on them."""
    targets = (*suite.targets, *(target for network in suite.networks for target in network.targets))
    aimed = [target["counter"] for target in targets if "counter" in target]
    for name in (*aimed, *(parse_spec(spec)[0] for spec in (suite.counter, *suite.counters))):
        registry.get("counter", name)
    for name in suite.metrics:
        registry.get("metric", name)


def _labels(networks: Sequence[Network]) -> Iterator[str]:
    """Yield each network's label; where several share one, with the fields in which they differ."""
    for network in networks:
        alike = [n for n in networks if n.label == network.label]
        telling = (f.name for f in fields(Network) if f.name not in ("twins", "entry", "pruners", "targets"))
        apart = [name for name in telling if len({getattr(n, name) for n in alike}) > 1]
        yield "/".join([network.label, *(f"{name}={getattr(network, name)}" for name in apart)])


def _reachable(entry: PrunerEntry, targets: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    free: list[Mapping[str, Any]] = [{"name": "none"}] if "none" in entry.targets else []
    return free + [t for t in targets if t["name"] in entry.targets]


def _inputs(
    suite: Suite, network: Network, spec: str, target: Mapping[str, Any], seed: int, registry: Registry
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the resolved inputs of a cell, and those of its parent."""
    checkpoint: CheckpointEntry | None = None
    if network.checkpoint:
        checkpoint = registry.get("checkpoint", network.checkpoint)
        network = replace(network, dataset=checkpoint.dataset, model=checkpoint.model)
    facts, revision = _resolved(network, spec, registry)
    entry: PrunerEntry = registry.get("pruner", facts["pruner"]["name"])
    budget = {"batch": network.batch, "precision": network.precision, "threads": network.threads}
    aim = target if entry.when & BEFORE else None
    if checkpoint is None:
        parent = _trained(facts, revision, {**budget, "train_epochs": network.train_epochs}, seed, aim)
        name: dict[str, Any] = {"name": "trained"}
    else:
        parent = _adopted(facts, revision, checkpoint, network.threads)
        name = {**parent["checkpoint"], "name": "checkpoint", "checkpoint": checkpoint.name}
        revision = {**revision, "parent": checkpoint.revision}
    inputs = {
        "suite": {"name": suite.name, "version": suite.version},
        **facts,
        "parent": {**name, "key": key_of(parent)},
        "target": target,
        "export": None,
        "seed": seed,
        "budget": {**budget, "train_epochs": network.train_epochs, "tune_epochs": network.tune_epochs},
        "revisions": {"bench": PROTOCOL, **revision},
    }
    return inputs, parent


def _trained(
    facts: Mapping[str, Any],
    revision: Mapping[str, int],
    budget: Mapping[str, Any],
    seed: int,
    target: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the inputs of a parent that is trained; where a pruner trains along, with it and its target."""
    roles = ("dataset", "model", "neuron", "rule", *(("pruner",) if target else ()))
    return {
        **{role: facts[role] for role in roles},
        **({"target": target} if target else {}),
        "seed": seed,
        "budget": budget,
        "revisions": {"bench": PROTOCOL, **{r: revision[r] for r in roles if r in revision}},
    }


def _adopted(
    facts: Mapping[str, Any], revision: Mapping[str, int], entry: CheckpointEntry, threads: int
) -> dict[str, Any]:
    """Return the inputs of a parent that is a checkpoint. No seed is in them: it is one network for all seeds."""
    roles = ("dataset", "model", "neuron")
    told = {"name": entry.name, "digest": entry.digest, "mean": list(entry.mean), "std": list(entry.std)}
    return {
        **{role: facts[role] for role in roles},
        "checkpoint": {**told, "rebuild": asdict(entry.rebuild) if entry.rebuild else None},
        # A rebuild adds up floats: in another order on other threads.
        "budget": {"threads": threads},
        "revisions": {
            "bench": PROTOCOL,
            "checkpoint": entry.revision,
            **{r: revision[r] for r in roles if r in revision},
        },
    }


def _resolved(network: Network, pruner: str, registry: Registry) -> tuple[dict[str, Any], dict[str, int]]:
    """Return each role as a named object with its defaults resolved, and each role's revision."""
    dataset = registry.get("dataset", network.dataset)
    specs = {"model": network.model, "rule": network.rule, "tune": network.tune or network.rule, "pruner": pruner}
    kinds = {"tune": "rule"}
    found = {role: _entry(registry, kinds.get(role, role), spec) for role, spec in specs.items() if spec}
    facts: dict[str, Any] = {role: {"name": entry.name, "params": values} for role, (entry, values) in found.items()}
    absent = {role: {"name": NO_RULE, "params": {}} for role in specs if role not in found}
    model: ModelEntry = found["model"][0]
    facts["model"]["prunable"] = list(model.prunable)
    facts["dataset"] = {"name": dataset.name, "digest": dataset.digest, "split": dataset.split}
    revision = {role: entry.revision for role, (entry, _) in found.items()} | {"dataset": dataset.revision}
    facts["neuron"] = None
    if model.spiking:
        neuron, values = _neuron(registry, network.neuron)
        facts["neuron"] = {"name": neuron.name, "params": values}
        revision["neuron"] = neuron.revision
    return facts | absent, revision | dict.fromkeys(absent, 1)


def _entry(registry: Registry, kind: str, spec: str) -> tuple[Any, dict[str, Any]]:
    name, overrides = parse_spec(spec)
    entry: Entry = registry.get(kind, name)
    return entry, as_dict(resolve(entry.params, overrides, f"{kind} {name}"))


def _neuron(registry: Registry, spec: str) -> tuple[NeuronEntry, dict[str, Any]]:
    entry, values = _entry(registry, "neuron", spec)
    for name, able in (("reset", entry.resets), ("surrogate", entry.surrogates)):
        if name in values and values[name] not in able:
            raise BenchError(f"neuron {entry.name} cannot do {name}={values[name]}; it can: {', '.join(sorted(able))}")
    return entry, values


def target_text(target: Mapping[str, Any]) -> str:
    """Write a target for a label: ``none``, ``sparsity=0.9`` or ``synops(effective)=0.5``."""
    if target["name"] == "none":
        return "none"
    counter = f"({target['counter']})" if "counter" in target else ""
    return f"{target['name']}{counter}={target['value']:g}"
