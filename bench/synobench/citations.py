"""What a suite's board stands on, as BibTeX: methods, data sets, networks, neurons, rules, counters and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from synobench import twins
from synobench.board.figures import plain
from synobench.errors import BenchError
from synobench.params import parse_spec
from synobench.protocol import Network
from synobench.references import Library
from synobench.registry import Registry
from synobench.suite import Suite

Thing = tuple[str, str]
"""Kind and name of an entry, or ``published`` and the key of its source."""

NONE = "none:"
"""How a citation begins that says why there is none."""

_ROLES = {
    "dataset": "dataset",
    "model": "model",
    "neuron": "neuron",
    "rule": "rule",
    "tune": "rule",
    "pruner": "pruner",
}


@dataclass(frozen=True)
class Bibliography:
    """The references of a suite.

    Args:
        text: BibTeX, each entry once, sorted by key, with who cites it; what has no citation is told above them.
        cited: kind and name -> key of everything that has a citation.
        findings: one line for everything that should be cited and cannot be.
    """

    text: str
    cited: Mapping[Thing, str]
    findings: tuple[str, ...]


def cite(suite: Suite, registry: Registry, records: Iterable[Mapping[str, Any]] = ()) -> Bibliography:
    """Collect the references of everything that a suite names, and of what stands in its records besides.

    Args:
        suite: the suite.
        registry: where its entries are registered.
        records: of any suite; the ``ok`` ones of this suite and version count.

    Raises:
        BenchError: the references of a plugin are not BibTeX.
    """
    library = Library(registry.origins)
    cited: dict[Thing, str] = {}
    entries: dict[str, str] = {}
    lines, findings = [], []
    for kind, name in sorted({*named(suite, registry), *_recorded(suite, records)}):
        source, plugin, finding = _source(kind, name, registry, library)
        entry = library.find(source, plugin) if source and not source.startswith(NONE) else None
        if entry is not None:
            cited[kind, name], entries[source] = source, entry
        elif finding:
            findings.append(finding)
        else:
            lines.append(f"% {kind} {name}: {source.removeprefix(NONE).strip() or 'no citation'}")
    findings += [
        f"plugins have different works as {key}: {plugin!r} means another one than the first"
        for key in sorted(entries)
        for plugin in library.clashes(key)
    ]
    return Bibliography(_text(suite, lines, cited, entries), cited, tuple(findings))


def named(suite: Suite, registry: Registry) -> Iterator[Thing]:
    """Yield kind and name of everything that a suite names."""
    yield from (("counter", parse_spec(spec)[0]) for spec in (suite.counter, *suite.counters))
    yield from (("metric", name) for name in suite.metrics)
    yield from (("published", figure.source) for figure in suite.published)
    for network in suite.networks:
        yield from _of_network(network, registry)
        yield from (("pruner", parse_spec(spec)[0]) for spec in network.pruners or suite.pruners)


def _of_network(network: Network, registry: Registry) -> Iterator[Thing]:
    yield from (("pruner", kind) for kind in twins.KINDS if network.twins)
    tune = (network.tune or network.rule) if network.tune_epochs else ""
    yield from (("rule", parse_spec(spec)[0]) for spec in (network.rule, tune) if spec)
    dataset, model = network.dataset, network.model
    if network.checkpoint:
        yield "checkpoint", network.checkpoint
        if not _registered("checkpoint", network.checkpoint, registry):
            return
        entry = registry.get("checkpoint", network.checkpoint)
        dataset, model = entry.dataset, entry.model
    name = parse_spec(model)[0]
    yield from (("dataset", dataset), ("model", name))
    if _registered("model", name, registry) and registry.get("model", name).spiking:
        yield "neuron", parse_spec(network.neuron)[0]


def _recorded(suite: Suite, records: Iterable[Mapping[str, Any]]) -> Iterator[Thing]:
    """Yield kind and name of everything in the records of a suite's version."""
    for record in records:
        inputs = record.get("inputs") or {}
        told = inputs.get("suite") or {}
        if record.get("status") != "ok" or (told.get("name"), told.get("version")) != (suite.name, suite.version):
            continue
        for role, kind in _ROLES.items():
            name = (inputs.get(role) or {}).get("name")
            if name and (kind, name) != ("rule", "none"):
                yield kind, str(name)
        if checkpoint := (inputs.get("parent") or {}).get("checkpoint"):
            yield "checkpoint", str(checkpoint)


def _registered(kind: str, name: str, registry: Registry) -> bool:
    return any(found.entry.name == name for found in registry.all(kind))


def _source(kind: str, name: str, registry: Registry, library: Library) -> tuple[str, str, str]:
    """Return the citation of a thing, the plugin that it comes from, and what is to be said where it is not found."""
    if kind == "published":
        return name, "", f"published figures come from {name!r}, which no plugin has among its references"
    try:
        found = registry.find(kind, name)
    except BenchError:
        return "", "", f"{kind} {name!r} stands on the board and no plugin registers it: install its plugin, or name -p"
    citation, plugin = found.entry.citation, found.origin.plugin
    if citation.startswith(NONE):
        return citation, plugin, ""
    right = "add it there, or let the citation say 'none: why'"
    return citation, plugin, f"{kind} {name!r} cites {citation!r}, which is not in {library.place(plugin)}; {right}"


def _text(suite: Suite, lines: list[str], cited: Mapping[Thing, str], entries: Mapping[str, str]) -> str:
    told = [f"% What the board of {suite.name} {suite.version} stands on, by `synobench cite {suite.name}`.", *lines]
    for key in sorted(entries):
        users: dict[str, list[str]] = {}
        for (kind, name), source in sorted(cited.items()):
            if source == key:
                users.setdefault(kind, []).append(name)
        whose = "; ".join(
            kind if kind == "published" else f"{kind} {', '.join(names)}" for kind, names in users.items()
        )
        told += ["", f"% {whose}", entries[key]]
    # Outside of its entries BibTeX skips all text but this sign.
    return "\n".join(line if line.startswith("@") else plain(line).replace("@", "(at)") for line in told) + "\n"
