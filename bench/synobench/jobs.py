"""A job as it reaches a worker, and what every phase of it shares: registry, data, cache, meter, stages."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synobench import provenance
from synobench import registry as registries
from synobench.cost import Meter
from synobench.data import Splits, open_dataset
from synobench.entries import NO_RULE, DatasetEntry, RuleEntry
from synobench.errors import ContractError
from synobench.feed import Feed
from synobench.params import resolve
from synobench.registry import Registered, Registry
from synobench.rules import Rule

Notify = Callable[[Mapping[str, Any]], None]

EACH_UPDATE = frozenset({"step", "adjust", "penalty"})
"""Stages that come and go with each update: too many to tell of."""


@functools.lru_cache(maxsize=4)
def registry_of(plugins: tuple[str, ...], strict: bool) -> Registry:
    """Load the plugins of a job, once a process."""
    return registries.load(plugins, strict=strict, quiet=True)


@functools.lru_cache(maxsize=2)
def _splits(entry: DatasetEntry, data: str | None, offline: bool) -> Splits:
    return open_dataset(entry, data, offline)


@dataclass
class Stage:
    """Where a job is, so that a failure can name it: the stage, and the plugin at work.

    Args:
        notify: told of each stage, so that the death of this process can be blamed from outside.
    """

    name: str = "start"
    plugin: str | None = None
    notify: Notify = lambda _: None

    @contextmanager
    def at(self, name: str, found: Registered | None = None) -> Iterator[None]:
        """Say what begins; on an error it stays said, on success what was said before holds again."""
        before = self.name, self.plugin
        self._say(name, str(found.origin) if found is not None else None, aloud=name not in EACH_UPDATE)
        yield
        self._say(*before, aloud=name not in EACH_UPDATE)

    def _say(self, name: str, plugin: str | None, aloud: bool) -> None:
        self.name, self.plugin = name, plugin
        if aloud:
            self.notify({"phase": name, "done": 0, "total": 0, "plugin": plugin})


@dataclass
class Job:
    """One parent or cell at work.

    Args:
        facts: the job as it was submitted, plain data.
        notify: told how far it is.
    """

    facts: Mapping[str, Any]
    notify: Notify
    stage: Stage = field(default_factory=Stage)

    def __post_init__(self) -> None:
        self.device: str = self.facts.get("device") or "cpu"
        self.registry = registry_of(tuple(self.facts.get("plugins", ())), bool(self.facts.get("strict")))
        self.meter = Meter(self.device)

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The resolved inputs, of which the job's key is the digest."""
        found: Mapping[str, Any] = self.facts["inputs"]
        return found

    @property
    def cache(self) -> Path:
        """The folder of what can be made again."""
        return Path(self.facts["cache"])

    def kept(self, kind: str, key: str) -> Path:
        """Return where the cache keeps something under a key."""
        return self.cache / kind / key[:2] / key

    @functools.cached_property
    def dataset(self) -> DatasetEntry:
        """The entry of the run's data set."""
        found: DatasetEntry = self.registry.get("dataset", self.inputs["dataset"]["name"])
        return found

    @functools.cached_property
    def splits(self) -> Splits:
        """The data, its test view sealed."""
        with self.stage.at("data", self.registry.find("dataset", self.dataset.name)):
            return _splits(self.dataset, self.facts.get("data"), bool(self.facts.get("offline")))

    def feed(self, view: Any) -> Feed:
        """Put one view of the data on the device; a checkpoint scales inputs in its own way, for every use."""
        told = (self.facts.get("parent") or {}).get("checkpoint")
        mean, std = (told["mean"], told["std"]) if told else (self.dataset.mean, self.dataset.std)
        return Feed(view.images, view.labels, mean, std, self.device)

    @functools.cached_property
    def training(self) -> Feed:
        """The training split on the device."""
        return self.feed(self.splits.train)

    @functools.cached_property
    def validation(self) -> Feed:
        """The validation split on the device."""
        return self.feed(self.splits.validation)

    @functools.cached_property
    def plugins(self) -> dict[str, tuple[str, str, str]]:
        """Distribution, version and source digest of each plugin that this run uses."""
        named = {role: self.inputs.get(role) for role in ("dataset", "model", "neuron", "rule", "pruner", "tune")}
        named["checkpoint"] = (self.facts.get("parent") or {}).get("checkpoint")
        kinds = {"tune": "rule"}
        told = [(kinds.get(role, role), part["name"]) for role, part in named.items() if part]
        used = {self.registry.find(*one).origin for one in told if one != ("rule", NO_RULE)}
        return {
            o.plugin: (o.distribution, o.version, provenance.source_digest(o.module))
            for o in sorted(used, key=lambda origin: origin.plugin)
        }

    def rule(self, role: str) -> tuple[Rule, RuleEntry, Registered]:
        """Make the training rule of a role (``rule`` or ``tune``).

        Raises:
            ContractError: the suite names none, and something asks to be trained all the same.
        """
        if self.inputs[role]["name"] == NO_RULE:
            raise ContractError("it asks to be trained, and the suite names no rule; give its network a 'tune'")
        rule, found = self._made("rule", self.inputs[role])
        return rule, found.entry, found  # type: ignore[return-value]

    def pruner(self) -> tuple[Any, Registered]:
        """Make the pruner."""
        return self._made("pruner", self.inputs["pruner"])

    def _made(self, kind: str, facts: Mapping[str, Any]) -> tuple[Any, Registered]:
        """Make what `run` returns, or the parameters themselves where they hold the code."""
        found = self.registry.find(kind, facts["name"])
        with self.stage.at("make", found):
            params = resolve(found.entry.params, facts["params"], f"{kind} {facts['name']}")
            return (params if found.entry.run is None else found.entry.load()(params)), found
