"""The text of a suite: TOML -> a frozen protocol, every field checked before anything is resolved."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from synobench.errors import BenchError, nearest

PRECISIONS = ("float32", "bfloat16", "float16")
"""What a network may compute in; weights stay float32."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LEAST = {"train_epochs": 1, "tune_epochs": 0, "batch": 1, "threads": 1}
_TARGET = {"name", "values", "counter"}
_TOP = {
    *("name", "version", "question", "counter", "counters", "metrics"),
    *("seeds", "pruners", "targets", "networks", "twins"),
}


@dataclass(frozen=True)
class Network:
    """One line of a suite: a model on a data set with its training and fine-tuning rules and budgets.

    `twins` says whether its pruners get twins (see synobench.twins); it is in no key.
    """

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
    twins: bool = False

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
    return Suite(
        **{key: _text(table, key, name) for key in ("name", "version", "question", "counter")},
        seeds=tuple(_whole(seed, f"a seed of {name}", 0) for seed in _some(table, "seeds", name)),
        pruners=_texts(_some(table, "pruners", name), f"pruners of {name}"),
        targets=tuple(t for table in _tables(table, "targets", name) for t in _targets(table, f"targets of {name}")),
        networks=tuple(_network(t, f"networks of {name}", twins) for t in _tables(table, "networks", name)),
        counters=_texts(_list(table, "counters", name), f"counters of {name}"),
        metrics=_texts(_list(table, "metrics", name), f"metrics of {name}"),
    )


def _network(table: Mapping[str, Any], where: str, twins: bool) -> Network:
    _known(table, {f.name for f in fields(Network)}, where)
    others = {*_LEAST, "twins"}
    texts = {key: _text(table, key, where) for key in ("dataset", "model", "rule", *table) if key not in others}
    if texts.get("precision", PRECISIONS[0]) not in PRECISIONS:
        raise BenchError(f"{where}: precision {texts['precision']!r} is not one of {', '.join(PRECISIONS)}")
    counts = {k: _whole(table.get(k), f"{k} in {where}", least) for k, least in _LEAST.items() if k in table}
    missing = [k for k in ("train_epochs", "tune_epochs", "batch") if k not in counts]
    if missing:
        raise BenchError(f"{where} lack {', '.join(missing)}")
    return Network(**texts, **counts, twins=_flag(table, "twins", where, twins))  # type: ignore[arg-type]


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
    found = _list(table, key, where) if key == "targets" else _some(table, key, where)
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
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
            raise BenchError(f"{where}: {value!r} is not a fraction between 0 and 1")
        yield {"name": name, "value": float(value), **counter}
