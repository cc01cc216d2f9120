"""The text of a suite: TOML -> a frozen protocol, every field checked before anything is resolved."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from synobench.errors import BenchError, nearest

PRECISIONS = ("float32", "bfloat16", "float16")
"""What a network may compute in; weights stay float32."""

PRUNER, RULE = "pruner", "rule"
"""What the entries of a suite are, which its board ranks."""

REFERENCE = {PRUNER: "magnitude", RULE: "backprop"}
"""The entry that the others are judged against, unless a suite names another."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LEAST = {"train_epochs": 1, "tune_epochs": 0, "batch": 1, "threads": 1}
_TARGET = {"name", "values", "counter"}
_PUBLISHED = {"source", "network", "entry", "targets", "values", "errors", "note"}
_TOP = {
    *("name", "version", "question", "counter", "counters", "metrics", "reference", "versus"),
    *("seeds", "pruners", "targets", "networks", "twins", "published"),
}


@dataclass(frozen=True)
class Network:
    """One line of a suite: a model on a data set with its training and fine-tuning rules and budgets.

    `entry` is what its rule is called on a board of rules, where the suite gives it a name; it is in no key. A
    checkpoint stands in the place of data set, model, rule and training. `pruners` and `targets`, where a network has
    its own, stand in the place of the suite's. `twins` says whether its pruners get twins (see synobench.twins); it is
    in no key.
    """

    dataset: str = ""
    model: str = ""
    rule: str = ""
    train_epochs: int = 0
    tune_epochs: int = 0
    batch: int = 1
    checkpoint: str = ""
    tune: str = ""
    neuron: str = "fused"
    precision: str = "float32"
    threads: int = 1
    twins: bool = False
    entry: str = ""
    pruners: tuple[str, ...] = ()
    targets: tuple[Mapping[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """``dataset/model``, or the name of the checkpoint."""
        return self.checkpoint or f"{self.dataset}/{self.model}"


@dataclass(frozen=True)
class Published:
    """A figure that somebody published: shown beside ours, never ranked.

    Args:
        source: the BibTeX key of where it stands.
        network: the label of its network, in the suite or on the board.
        entry: the pruner of ours that it is to be read beside.
        target: as in a record; ``{"name": "none"}`` for the dense network.
        value: top-1 accuracy in per cent, as printed. `error`: its standard error, where one is printed.
        note: what a reader must know of how it came here.
    """

    source: str
    network: str
    entry: str
    target: Mapping[str, Any]
    value: float
    error: float | None = None
    note: str = ""


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
    published: tuple[Published, ...] = ()
    reference: str = REFERENCE[PRUNER]
    versus: str = PRUNER


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
    twins = _flag(table, "twins", name, False)
    if not _NAME.fullmatch(_text(table, "name", name)):
        raise BenchError(f"the name {table['name']!r} of {name} is not made of letters, digits, '.', '_' and '-'")
    where = f"networks of {name}"
    networks = tuple(
        replace(_network(one, where, twins), entry=entry)
        for told in _tables(table, "networks", name)
        for entry, one in _by_rule(told, where)
    )
    pruners = _texts(_some(table, "pruners", name), f"pruners of {name}")
    versus = _versus(table, networks, name)
    return Suite(
        **{key: _text(table, key, name) for key in ("name", "version", "question", "counter")},
        seeds=tuple(_whole(seed, f"a seed of {name}", 0) for seed in _some(table, "seeds", name)),
        pruners=pruners,
        targets=tuple(t for table in _tables(table, "targets", name) for t in _targets(table, f"targets of {name}")),
        networks=networks,
        counters=_texts(_list(table, "counters", name), f"counters of {name}"),
        metrics=_texts(_list(table, "metrics", name), f"metrics of {name}"),
        published=tuple(_published(table, networks, name)),
        reference=_reference(table, _entries(versus, pruners, networks), versus, name),
        versus=versus,
    )


def _entries(versus: str, pruners: Sequence[str], networks: Sequence[Network]) -> list[str]:
    """Return the specs of a suite's entries; a rule may be called by its name too."""
    if versus == RULE:
        return [text for network in networks for text in (network.entry, network.rule) if text]
    return [*pruners, *(spec for network in networks for spec in network.pruners)]


def _reference(table: Mapping[str, Any], entries: Sequence[str], versus: str, name: str) -> str:
    """Return the reference entry: one of the suite's pruners or rules, or the default, which may be absent."""
    if "reference" not in table:
        return REFERENCE[versus]
    spec = _text(table, "reference", name)
    if spec not in entries:
        raise BenchError(f"the reference {spec!r} of {name} is none of its {versus}s{nearest(spec, entries)}")
    return spec


def _versus(table: Mapping[str, Any], networks: Sequence[Network], name: str) -> str:
    versus = _text({"versus": PRUNER, **table}, "versus", name)
    if versus not in REFERENCE:
        raise BenchError(f"{name}: versus {versus!r} is not one of {', '.join(REFERENCE)}")
    if versus == PRUNER and (named := [network.entry for network in networks if network.entry]):
        raise BenchError(f"{name} calls a rule {named[0]!r}: rules have names where versus = {RULE!r}")
    return versus


def _by_rule(table: Mapping[str, Any], where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a network's table once for each of its `rules`, with what the suite calls that rule, if anything."""
    if "rules" not in table:
        yield "", table
        return
    rest, rules = {k: v for k, v in table.items() if k != "rules"}, table["rules"]
    if "rule" in rest:
        raise BenchError(f"{where}: 'rule' and 'rules' exclude each other")
    if not isinstance(rules, (list, Mapping)) or not rules:
        raise BenchError(f"{where} need 'rules' as a list of rules or a table of name and rule, not {rules!r}")
    told = list(rules.items()) if isinstance(rules, Mapping) else [("", spec) for spec in rules]
    specs = _texts([spec for _, spec in told], f"rules in {where}")
    if twice := [spec for i, spec in enumerate(specs) if spec in specs[:i]]:
        raise BenchError(f"rules in {where} hold {twice[0]!r} twice")
    yield from ((entry, {**rest, "rule": spec}) for entry, spec in told)


def _network(table: Mapping[str, Any], where: str, twins: bool) -> Network:
    _known(table, {f.name for f in fields(Network)} - {"entry"} | {"rules"}, where)
    needed = _needed(table, where)
    others = {*_LEAST, "twins", "pruners", "targets"}
    texts = {key: _text(table, key, where) for key in (*needed, *table) if key not in others}
    if texts.get("precision", PRECISIONS[0]) not in PRECISIONS:
        raise BenchError(f"{where}: precision {texts['precision']!r} is not one of {', '.join(PRECISIONS)}")
    counts = {k: _whole(table.get(k), f"{k} in {where}", least) for k, least in _LEAST.items() if k in table}
    missing = [k for k in needed if k in _LEAST and k not in counts]
    if missing:
        raise BenchError(f"{where} lack {', '.join(missing)}")
    return Network(
        **texts,  # type: ignore[arg-type]
        **counts,  # type: ignore[arg-type]
        twins=_flag(table, "twins", where, twins),
        pruners=_texts(_list(table, "pruners", where), f"pruners in {where}"),
        targets=tuple(t for one in _tables(table, "targets", where) for t in _targets(one, f"targets in {where}")),
    )


def _needed(table: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Return the fields that a network must give, by whether it is trained or a checkpoint."""
    if "checkpoint" not in table:
        return "dataset", "model", "rule", "train_epochs", "tune_epochs", "batch"
    for key in ("dataset", "model", "rule", "train_epochs"):
        if key in table:
            raise BenchError(f"{where}: {key!r} is the checkpoint's own; leave it out beside 'checkpoint'")
    tuned = table.get("tune_epochs", 0) != 0
    return "checkpoint", *(("tune",) if tuned else ()), "tune_epochs", "batch"


def _known(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise BenchError(f"{where} has no field {key!r}{nearest(key, known)}")


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise BenchError(f"{where} needs {key!r} as text{f', not {value!r}' if key in table else ''}")
    return value


def _flag(table: Mapping[str, Any], key: str, where: str, default: bool) -> bool:
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise BenchError(f"{where} needs {key!r} as true or false, not {value!r}")
    return value


def _whole(value: Any, what: str, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise BenchError(f"{what} must be a whole number of {least} or more, not {value!r}")
    return value


def _list(table: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = table.get(key, [])
    if not isinstance(value, list):
        raise BenchError(f"{where} needs {key!r} as a list, not {value!r}")
    return value


def _some(table: Mapping[str, Any], key: str, where: str) -> list[Any]:
    found = _list(table, key, where)
    if not found:
        raise BenchError(f"{where} needs at least one of {key!r}")
    return found


def _texts(values: list[Any], where: str) -> tuple[str, ...]:
    wrong = [value for value in values if not isinstance(value, str)]
    if wrong:
        raise BenchError(f"{where} must be text, not {wrong[0]!r}")
    return tuple(values)


def _tables(table: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    found = _some(table, key, where) if key == "networks" else _list(table, key, where)
    if not all(isinstance(item, Mapping) for item in found):
        raise BenchError(f"{where} needs {key!r} as tables, each under [[{key}]]")
    return found


def _targets(table: Mapping[str, Any], where: str) -> Iterator[Mapping[str, Any]]:
    _known(table, _TARGET, where)
    name = _text(table, "name", where)
    if name not in ("sparsity", "parameters", "synops"):
        raise BenchError(f"{where}: {name!r} is not sparsity, parameters or synops")
    counter = {"counter": _text(table, "counter", f"{where}: synops")} if name == "synops" else {}
    for value in _some(table, "values", where):
        yield {"name": name, "value": _number(value, where, 1), **counter}


def _number(value: Any, where: str, most: int) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= most:
        told = "a fraction between 0 and 1" if most == 1 else f"a figure between 0 and {most}"
        raise BenchError(f"{where}: {value!r} is not {told}")
    return float(value)


def _published(table: Mapping[str, Any], networks: Sequence[Network], name: str) -> Iterator[Published]:
    """Yield the figures of each table ``[[published]]``: one entry on one network at several targets."""
    where, labels = f"published of {name}", [network.label for network in networks]
    for told in _tables(table, "published", name):
        _known(told, _PUBLISHED, where)
        texts = {key: _text(told, key, where) for key in ("source", "network", "entry", *({"note"} & set(told)))}
        if texts["network"] not in labels:
            raise BenchError(f"{where}: no network is labelled {texts['network']!r}{nearest(texts['network'], labels)}")
        values = [_number(value, f"{where}: values", 100) for value in _some(told, "values", where)]
        errors: list[float | None] = [_number(e, f"{where}: errors", 100) for e in _list(told, "errors", where)]
        aims = _aims(told, where)
        if len(aims) != len(values) or len(errors) not in (0, len(values)):
            raise BenchError(f"{where}: {len(aims)} targets, {len(values)} values, {len(errors)} errors do not match")
        for aim, value, error in zip(aims, values, errors or [None] * len(values), strict=True):
            yield Published(**texts, target=aim, value=value, error=error)


def _aims(told: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    if "targets" not in told:
        return [{"name": "none"}]
    return [target for table in _tables(told, "targets", where) for target in _targets(table, f"targets in {where}")]
