"""Suites: a frozen protocol in TOML -> cells -> keys. Nothing here imports torch: what is planned is plain data."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from synobench.entries import Entry, ModelEntry, NeuronEntry, PrunerEntry
from synobench.errors import BenchError, nearest
from synobench.params import as_dict, parse_spec, resolve
from synobench.registry import Registry
from synobench.store import key_of

PROTOCOL = 1
"""Revision of the bench's own protocol (split, seeds, schedule, referee, judging); part of each key."""

BEFORE = frozenset({"initialisation", "training"})
"""A pruner that acts then makes its own parent."""

_TOP = {"name", "version", "question", "counter", "counters", "metrics", "seeds", "pruners", "targets", "networks"}
_NETWORK = {
    "dataset",
    "model",
    "neuron",
    "rule",
    "train_epochs",
    "tune",
    "tune_epochs",
    "batch",
    "precision",
    "threads",
}


@dataclass(frozen=True)
class Network:
    """One line of a suite: a model on a data set with its training and fine-tuning rules and budgets."""

    dataset: str
    model: str
    rule: str
    train_epochs: int
    tune_epochs: int
    batch: int
    tune: str = ""
    neuron: str = "fused"
    precision: str = "float32"
    threads: int = 1

    @property
    def label(self) -> str:
        """``dataset/model``."""
        return f"{self.dataset}/{self.model}"


@dataclass(frozen=True)
class Suite:
    """A versioned protocol: every cell is one network x pruner x target x seed."""

    name: str
    version: str
    question: str
    counter: str
    seeds: tuple[int, ...]
    pruners: tuple[str, ...]
    targets: tuple[Mapping[str, Any], ...]
    networks: tuple[Network, ...]
    counters: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One point of a suite. `parent` holds the inputs of the network that stands before pruning."""

    inputs: Mapping[str, Any]
    parent: Mapping[str, Any]
    label: str
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


def parse(text: str, name: str = "the suite") -> Suite:
    """Read a suite's TOML.

    Raises:
        BenchError: it is no TOML, a field is unknown, missing or of the wrong kind.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BenchError(f"{name} is not valid TOML: {error}") from None
    _known(table, _TOP, name)
    try:
        networks = tuple(_network(n, f"networks of {name}") for n in table.pop("networks"))
        targets = tuple(_targets(table.pop("targets"), name))
        table.update({k: tuple(table[k]) for k in ("seeds", "pruners", "counters", "metrics") if k in table})
        return Suite(**table, networks=networks, targets=targets)
    except (KeyError, TypeError) as error:
        raise BenchError(f"{name} lacks or mistypes a field: {error}") from None


def _network(table: Mapping[str, Any], where: str) -> Network:
    _known(table, _NETWORK, where)
    return Network(**table)


def _known(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise BenchError(f"{where} has no field {key!r}{nearest(key, known)}")


def _targets(tables: Sequence[Mapping[str, Any]], name: str) -> Iterator[Mapping[str, Any]]:
    for table in tables:
        for value in table["values"]:
            target = {"name": table["name"], "value": float(value)}
            if table["name"] == "synops":
                target["counter"] = table["counter"]
            elif table["name"] not in ("sparsity", "parameters"):
                raise BenchError(f"targets of {name}: {table['name']!r} is not sparsity, parameters or synops")
            if not 0 <= Fraction(str(value)) <= 1:
                raise BenchError(f"targets of {name}: {value} is not a fraction between 0 and 1")
            yield target


def cells(suite: Suite, registry: Registry) -> tuple[list[Cell], list[Skipped]]:
    """Resolve a suite into its cells, in a fixed order, and what it names but cannot be.

    Raises:
        BenchError: an entry is unknown, or a parameter is out of range.
    """
    made: list[Cell] = []
    skipped: list[Skipped] = []
    for network in suite.networks:
        for spec in suite.pruners:
            entry: PrunerEntry = registry.get("pruner", parse_spec(spec)[0])
            targets = _reachable(entry, suite.targets)
            if not targets:
                skipped.append(Skipped(f"{network.label}/{spec}", f"it aims at {', '.join(sorted(entry.targets))}"))
            for target in targets:
                made += [_cell(suite, network, spec, target, seed, registry) for seed in suite.seeds]
    return made, skipped


def _reachable(entry: PrunerEntry, targets: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    free: list[Mapping[str, Any]] = [{"name": "none"}] if "none" in entry.targets else []
    return free + [t for t in targets if t["name"] in entry.targets]


def _cell(suite: Suite, network: Network, spec: str, target: Mapping[str, Any], seed: int, registry: Registry) -> Cell:
    facts, revision = _resolved(network, spec, registry)
    entry: PrunerEntry = registry.get("pruner", facts["pruner"]["name"])
    budget = {"batch": network.batch, "precision": network.precision, "threads": network.threads}
    early = entry.when & BEFORE
    parent_roles = ("dataset", "model", "neuron", "rule", *(("pruner",) if early else ()))
    parent: dict[str, Any] = {
        **{role: facts[role] for role in parent_roles},
        **({"target": target} if early else {}),
        "seed": seed,
        "budget": {**budget, "train_epochs": network.train_epochs},
        "revisions": {"bench": PROTOCOL, **{r: revision[r] for r in parent_roles if r in revision}},
    }
    inputs = {
        "suite": {"name": suite.name, "version": suite.version},
        **facts,
        "parent": {"name": "trained", "key": key_of(parent)},
        "target": target,
        "export": None,
        "seed": seed,
        "budget": {**budget, "train_epochs": network.train_epochs, "tune_epochs": network.tune_epochs},
        "revisions": {"bench": PROTOCOL, **revision},
    }
    return Cell(inputs, parent, f"{network.label}/{spec}/{target_text(target)}/seed={seed}")


def _resolved(network: Network, pruner: str, registry: Registry) -> tuple[dict[str, Any], dict[str, int]]:
    """Return each role as a named object with its defaults resolved, and each role's revision."""
    dataset = registry.get("dataset", network.dataset)
    specs = {"model": network.model, "rule": network.rule, "tune": network.tune or network.rule, "pruner": pruner}
    kinds = {"tune": "rule"}
    found = {role: _entry(registry, kinds.get(role, role), spec) for role, spec in specs.items()}
    facts: dict[str, Any] = {role: {"name": entry.name, "params": values} for role, (entry, values) in found.items()}
    model: ModelEntry = found["model"][0]
    facts["model"]["prunable"] = list(model.prunable)
    facts["dataset"] = {"name": dataset.name, "digest": dataset.digest, "split": dataset.split}
    revision = {role: entry.revision for role, (entry, _) in found.items()} | {"dataset": dataset.revision}
    facts["neuron"] = None
    if model.spiking:
        neuron, values = _neuron(registry, network.neuron)
        facts["neuron"] = {"name": neuron.name, "params": values}
        revision["neuron"] = neuron.revision
    return facts, revision


def _entry(registry: Registry, kind: str, spec: str) -> tuple[Any, dict[str, Any]]:
    name, overrides = parse_spec(spec)
    entry: Entry = registry.get(kind, name)
    return entry, as_dict(resolve(entry.params, overrides, f"{kind} {name}"))


def _neuron(registry: Registry, spec: str) -> tuple[NeuronEntry, dict[str, Any]]:
    entry, values = _entry(registry, "neuron", spec)
    for name, able in (("reset", entry.resets), ("surrogate", entry.surrogates)):
        if values[name] not in able:
            raise BenchError(f"neuron {entry.name} cannot do {name}={values[name]}; it can: {', '.join(sorted(able))}")
    return entry, values


def target_text(target: Mapping[str, Any]) -> str:
    """Write a target for a label: ``none``, ``sparsity=0.9`` or ``synops(effective)=0.5``."""
    if target["name"] == "none":
        return "none"
    counter = f"({target['counter']})" if "counter" in target else ""
    return f"{target['name']}{counter}={target['value']:g}"
