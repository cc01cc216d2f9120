"""One record -> one Run: the facts that a board needs, recomputed from the evidence; contradictions are refused."""

from __future__ import annotations

import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from synobench.board.parts import Parts
from synobench.board.runs import COST, PHASES, Run, Score
from synobench.errors import BenchError
from synobench.measurements import TRAINING, rows
from synobench.store import canonical

Json = Any
Counter = Callable[[Any], Mapping[str, float]]
Metric = Callable[[Mapping[str, Any]], "float | None"]

_MAPPINGS = (dict, Mapping)  # a dict is told at once, any other mapping through its abstract class

NEEDED = ("dataset", "model", "pruner", "target", "rule", "tune", "parent")
_NAMED = frozenset((*NEEDED, "neuron", "export"))
"""The inputs that are objects with a name; some may be null."""

_AIMED = ("sparsity", "parameters", "synops")
"""The targets that have a value."""

_ORIGIN = ("device", "yardstick", "code", "libraries", "shared")
"""The parts of the provenance that a board reads, each an object."""

MOST = 2**63 - 1
"""The most weights and images that a record may tell."""

LARGEST = 1e100
"""Beyond this no figure of a network was measured."""

_GREATEST = 1e300

_NUMBERS = (float, int)

SIZES = ("prunable", "kept", "parameters", "parameters_kept")


def need(record: Mapping[str, Json], path: str, kind: type | tuple[type, ...] = object) -> Any:
    """Return the field at the dotted `path`.

    Raises:
        BenchError: it is missing or not of `kind`; the line names the record and the field.
    """
    value: Any = record
    for part in _split(path):
        if not isinstance(value, _MAPPINGS) or part not in value:
            raise BenchError(f"record {_name(record)} lacks {path!r}")
        value = value[part]
    return value if type(value) is kind else _of_kind(value, kind, record, path)


def _of_kind(value: Any, kind: type | tuple[type, ...], record: Mapping[str, Json], path: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not object):
        raise BenchError(f"record {_name(record)} holds {_short(value)} as {path!r}")
    return value


def _part(record: Mapping[str, Json], path: str, names: tuple[str, ...], kind: type) -> list[Any]:
    """Return some fields of one part of a record, as `need` does one by one."""
    held = _at(record, path)
    found = [held.get(name) for name in names]
    for value in found:
        if type(value) is not kind:
            return [need(record, f"{path}.{name}", kind) for name in names]
    return found


def _at(record: Mapping[str, Json], path: str) -> dict[str, Json]:
    """Return the part of a record at a dotted path; an empty one where it is not made of dicts alone."""
    held: Any = record
    for part in _split(path):
        held = held.get(part) if type(held) is dict else None
    return held if type(held) is dict else {}


@cache
def _split(path: str) -> list[str]:
    return path.split(".")


def read_score(record: Mapping[str, Json], path: str) -> Score:
    """Return the score at `path`, with its hits counted from the mask.

    Raises:
        BenchError: a field is missing, the mask does not fit the number of images, or the stored hits are not its ones.
    """
    held = _at(record, path)
    total, told, text = held.get("total"), held.get("hits"), held.get("mask")
    if type(total) is not int or type(told) is not int or type(text) is not str:
        total, told = _part(record, path, ("total", "hits"), int)
        text = need(record, f"{path}.mask", str)
    return score_of(told, total, text, f"record {_name(record)}: {path}")


def score_of(hits: int, total: int, text: str, where: str) -> Score:
    """Return the score of a mask in base64, with its hits counted.

    Raises:
        BenchError: the mask does not fit the number of images, or `hits` are not its ones.
    """
    try:
        mask = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise BenchError(f"{where}.mask is not base64") from None
    if total < 1 or len(mask) != (total + 7) // 8:
        raise BenchError(f"{where}.mask has {len(mask)} bytes for {total} images")
    bits = int.from_bytes(mask, "big")
    if mask[-1] & ((1 << (8 * len(mask) - total)) - 1):
        raise BenchError(f"{where}.mask has ones beyond its {total} images")
    if bits.bit_count() != hits:
        raise BenchError(f"{where}.hits says {hits}, its mask holds {bits.bit_count()}")
    return Score(hits, total, mask)


def read_sizes(record: Mapping[str, Json]) -> dict[str, int]:
    """Return prunable, kept, parameters and parameters_kept, with the first two summed again over the layers.

    Raises:
        BenchError: a field is missing, or the figures contradict each other.
    """
    sizes = dict(zip(SIZES, _part(record, "outcome.sparsity", SIZES, int), strict=True))
    layers = need(record, "outcome.sparsity.layers", list)
    for name, part in (("prunable", "total"), ("kept", "kept")):
        told: list[Any] = [layer.get(part) if isinstance(layer, _MAPPINGS) else None for layer in layers]
        if not {*map(type, told)} <= {int}:
            raise BenchError(f"record {_name(record)}: a layer of outcome.sparsity lacks {part!r}")
        if (held := sum(told)) != sizes[name]:
            raise BenchError(f"record {_name(record)}: its layers hold {held} {name} weights, it says {sizes[name]}")
    check_sizes(sizes, f"record {_name(record)}")
    return sizes


def check_sizes(sizes: Mapping[str, int], where: str) -> None:
    """Hold the sizes of a network against each other.

    Raises:
        BenchError: they are too large, or more is kept than there is.
    """
    removed = sizes["prunable"] - sizes["kept"]
    if max(sizes.values()) > MOST:
        raise BenchError(f"{where} holds {_short(max(sizes.values()))} weights, over {MOST}")
    if removed < 0 or sizes["kept"] < 0 or sizes["parameters"] - sizes["parameters_kept"] < 0 or sizes["prunable"] < 1:
        raise BenchError(f"{where} keeps more weights than there are")


def read_run(
    record: Mapping[str, Json],
    counters: Mapping[str, Counter],
    metrics: Mapping[str, Metric],
    read_ledger: Callable[[Mapping[str, Json]], Any],
    parts: Parts | None = None,
    mark: bytes = b"",
) -> Run:
    """Read an ``ok`` record, and apply the counters and metrics to it.

    Args:
        record: as stored.
        counters: name -> function of the ledger.
        metrics: name -> function of the record.
        read_ledger: makes of the record's ledger what counters take.
        parts: holds what the runs of a board have in common.
        mark: tells the record from every other.

    Raises:
        BenchError: the record lacks a field or contradicts itself, or a counter or metric fails on it.
    """
    parts = parts or Parts()
    inputs = read_inputs(record, parts)
    sizes: dict[str, Any] = {**read_sizes(record)}
    ledger = _ledger(record, read_ledger)
    provenance = _origin(record)
    run = object.__new__(Run)
    # A frozen class sets its fields one by one, which thousands of runs wait for.
    run.__dict__.update(
        key=need(record, "key", str),
        inputs=inputs,
        top1=read_score(record, "outcome.test.top1"),
        top5=read_score(record, "outcome.test.top5") if record["outcome"]["test"].get("top5") else None,
        validation=_validation(record),
        counts={n: counted(record, n, c, ledger) for n, c in sorted(counters.items())},
        metrics={n: measured(record, n, m) for n, m in sorted(metrics.items())},
        cost=_cost(record),
        machine=parts.made(machine_text, provenance.get("device") or {}),
        yardstick=_numbers(provenance.get("yardstick") or {}),
        code=parts.one(provenance.get("code") or {}),
        caveats=parts.one(tuple(getattr(ledger, "notes", ()))),
        weights=_weights(provenance),
        kept_by_tensor=tuple(layer["kept"] for layer in record["outcome"]["sparsity"]["layers"]),
        libraries=parts.made(versions, provenance.get("libraries") or {}),
        training=tables(_measurements(record)),
        mark=mark,
        **shape_of(record["outcome"]["ledger"]),
        **sizes,
    )
    return run


def read_inputs(record: Mapping[str, Json], parts: Parts) -> dict[str, Json]:
    """Return a record's inputs with their parts held once; those that no label can be made of are refused.

    Raises:
        BenchError: a part is missing, no object with a name, or holds what it must not.
    """
    given = need(record, "inputs")
    inputs, fresh = parts.inputs(given) if isinstance(given, _MAPPINGS) else ({}, [])
    for role in NEEDED:
        if inputs.get(role) is None:
            need(record, f"inputs.{role}.name", str)
    need(record, "inputs.seed", int)
    for role in fresh:
        if role in _NAMED:
            _check_part(record, role, inputs[role])
    for role in ("budget", "revisions"):
        if role in fresh:
            need(record, f"inputs.{role}", _MAPPINGS)
    if "revisions" in fresh and not all(type(revision) is int for revision in inputs["revisions"].values()):
        raise BenchError(f"record {_name(record)} holds {_short(inputs['revisions'])} as 'inputs.revisions'")
    return inputs


def _check_part(record: Mapping[str, Json], role: str, part: Any) -> None:
    need(record, f"inputs.{role}.name", str)
    if part.get("params") is not None:
        need(record, f"inputs.{role}.params", _MAPPINGS)
    value = part.get("value")
    aimed = role == "target" and part["name"] in _AIMED
    if (aimed or value is not None) and finite(value) is None:
        raise BenchError(f"record {_name(record)} holds {_short(value)} as 'inputs.{role}.value'")


def finite(value: Json) -> float | None:
    """Return a number within `LARGEST` as a float, and None for all else: what is not measured is a gap."""
    if type(value) not in _NUMBERS and (isinstance(value, bool) or not isinstance(value, (int, float))):
        return None
    return float(value) if -LARGEST < value < LARGEST else None


def machine_text(device: Mapping[str, Json]) -> str:
    """Write a device as ``key value, key value``; runs with the same text ran on one kind of machine."""
    told = {k: v if isinstance(v, str) else canonical(v) for k, v in device.items() if v is not None}
    return ", ".join(f"{k} {v}" for k, v in sorted(told.items())) or "unknown machine"


def _origin(record: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a record's provenance, empty where it has none.

    Raises:
        BenchError: it, or a part of it, is no object.
    """
    told = record.get("provenance") or {}
    if not isinstance(told, _MAPPINGS):
        raise BenchError(f"record {_name(record)} holds {_short(told)} as 'provenance'")
    for name in _ORIGIN:
        if told.get(name) is not None and not isinstance(told[name], _MAPPINGS):
            need(record, f"provenance.{name}", _MAPPINGS)
    return told


def _measurements(record: Mapping[str, Json]) -> Mapping[str, Json]:
    told = record["outcome"].get("measurements") or {}
    if not isinstance(told, _MAPPINGS):
        need(record, "outcome.measurements", _MAPPINGS)
    return told


def tables(told: Mapping[str, Json]) -> dict[str, Mapping[str, Json]]:
    """Return the measurements of training that are tables; what no picture could hold is left out."""
    held = {name.removeprefix(TRAINING): value for name, value in sorted(told.items()) if name.startswith(TRAINING)}
    return {name: value for name, value in held.items() if (table := list(rows(value))) and _drawable(table)}


def _drawable(table: list[tuple[int, Sequence[float | None]]]) -> bool:
    return all(one is None or abs(one) <= _GREATEST for _, row in table for one in row)


def _numbers(told: Mapping[str, Json]) -> dict[str, float]:
    held = {name: finite(value) for name, value in sorted(told.items())}
    return {name: value for name, value in held.items() if value is not None}


def versions(told: Mapping[str, Json]) -> dict[str, str]:
    """Return libraries with their versions, sorted by name."""
    return {str(k): str(v) for k, v in sorted(told.items())}


def _weights(provenance: Mapping[str, Json]) -> str | None:
    parent = (provenance.get("shared") or {}).get("parent")
    told = parent.get("weights") if isinstance(parent, _MAPPINGS) else None
    return None if told is None else str(told)


def shape_of(ledger: Mapping[str, Json]) -> dict[str, Any]:
    """Return what a ledger tells of the network as a whole."""
    layers = [layer for layer in ledger.get("layers") or () if isinstance(layer, _MAPPINGS)]
    sources = [layer["source"] for layer in layers if isinstance(layer.get("source"), list)]
    output = layers[-1].get("output") if layers else None
    return {
        "digest": None if ledger.get("digest") is None else str(ledger["digest"]),
        "outputs": _product(output),
        "joined": any(len(source) > 1 for source in sources) if sources else None,
    }


def _product(shape: Json) -> int | None:
    held = isinstance(shape, list) and all(type(size) is int for size in shape)
    return math.prod(shape) if held else None


def _validation(record: Mapping[str, Json]) -> float | None:
    held = record["outcome"].get("validation")
    if not held:
        return None
    total, hits = need(record, "outcome.validation.total", int), need(record, "outcome.validation.hits", int)
    if not 0 <= hits <= total <= MOST:
        raise BenchError(f"record {_name(record)} holds {_short(hits)} hits in {_short(total)} validation images")
    return hits / total if total else None


def _cost(record: Mapping[str, Json]) -> dict[str, dict[str, float | None]]:
    cost = need(record, "cost", Mapping)
    told: dict[str, dict[str, float | None]] = {}
    for phase in PHASES:
        spent = cost.get(phase) or {}
        if not isinstance(spent, _MAPPINGS):
            need(record, f"cost.{phase}", _MAPPINGS)
        told[phase] = {item: finite(spent.get(item)) for item in COST}
    return cost_of(told, record["inputs"])


def cost_of(told: dict[str, dict[str, float | None]], inputs: Mapping[str, Json]) -> dict[str, dict[str, float | None]]:
    """Return what a run spent; where nothing was trained here, nobody measured what that once cost elsewhere."""
    if inputs["parent"]["name"] == "checkpoint" and not told["train"]["seconds"]:
        told["train"] = dict.fromkeys(COST, None)
    return told


def _ledger(record: Mapping[str, Json], read: Callable[[Mapping[str, Json]], Any]) -> Any:
    facts = need(record, "outcome.ledger", Mapping)
    try:
        return read(facts)
    except BenchError as error:
        raise BenchError(f"record {_name(record)}: {error}") from None


def counted(record: Mapping[str, Json], name: str, counter: Counter, ledger: Any) -> dict[str, float | None]:
    """Return what a counter tells of a record's ledger, by column.

    Raises:
        BenchError: it fails.
    """
    try:
        told = counter(ledger)
    except Exception as error:
        raise BenchError(f"counter {name!r} fails on record {_name(record)}: {_cause(error)}") from error
    return {column: finite(told[column]) for column in sorted(told)}


def measured(record: Mapping[str, Json], name: str, metric: Metric) -> float | None:
    """Return what a metric tells of a record.

    Raises:
        BenchError: it fails.
    """
    try:
        return finite(metric(record))
    except Exception as error:
        raise BenchError(f"metric {name!r} fails on record {_name(record)}: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _name(record: Mapping[str, Json]) -> str:
    key = record.get("key", "without a key")
    return key if isinstance(key, str) and key.isprintable() and len(key) <= 70 else _short(key)


def _short(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 70 else text[:67] + "..."
