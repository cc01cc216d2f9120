"""Verification: what a stored record claims is derived again from its own evidence, without torch."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from synobench.errors import BenchError
from synobench.ledger import Ledger, unpack_vectors
from synobench.registry import HOME, Registry
from synobench.store import Record, Store, key_of, read_json

Check = Callable[[Record], Iterator[str]]


def verify_suite(store: Store, suite: str, registry: Registry) -> tuple[int, list[str]]:
    """Check every record of a suite; return how many were seen, and one line a finding."""
    paths = store.paths(suite)
    findings = [f"{path}: {told}" for path in paths for told in verify_file(path, suite, registry)]
    return len(paths), findings


def verify_file(path: Path, suite: str, registry: Registry) -> list[str]:
    """Return what is wrong with one record's file, nothing where all holds."""
    try:
        record = read_json(path)
        return [*_identity(record, path, suite), *_evidence(record, path), *_foreign(record, registry)]
    except BenchError as error:
        return [" ".join(str(error).removeprefix(f"{path} ").split())]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        return [f"it is not shaped like a record: {type(error).__name__}: {' '.join(str(error).split())[:200]}"]


def _identity(record: Record, path: Path, suite: str) -> Iterator[str]:
    key = key_of(record["inputs"])
    if record["key"] != key:
        yield f"its key is {str(record['key'])[:80]!r}, its inputs give {key}"
    if path.stem != key or path.parent.name != key[:2]:
        yield f"it lies under {path.parent.name}/{path.name}, its inputs give {key[:2]}/{key}.json"
    if record["status"] != "ok":
        yield f"its status is {str(record['status'])[:80]!r}; only ok records lie here"
    if record["inputs"]["suite"]["name"] != suite:
        yield f"it belongs to suite {str(record['inputs']['suite']['name'])[:80]!r}, not {suite!r}"


def _evidence(record: Record, path: Path) -> Iterator[str]:
    outcome = record["outcome"]
    for name in ("top1", "top5"):
        yield from _hits(name, outcome["test"][name])
    if outcome["test"]["top1"]["hits"] > outcome["test"]["top5"]["hits"]:
        yield "top1 has more hits than top5"
    yield from _sparsity(record, outcome["sparsity"])
    yield from _ledger(outcome, path.with_suffix(".ledger"))
    yield from _cost(record["cost"])


def _hits(name: str, test: Mapping[str, Any]) -> Iterator[str]:
    total, mask = _count(test["total"]), base64.b64decode(test["mask"], validate=True)
    if len(mask) != (total + 7) // 8:
        yield f"the mask of {name} has {len(mask)} bytes, {total} images need {(total + 7) // 8}"
        return
    ones = int.from_bytes(mask, "big").bit_count()
    if ones != test["hits"]:
        yield f"{name} claims {str(test['hits'])[:40]} hits, its mask has {ones}"
    if total % 8 and mask[-1] & ((1 << (8 - total % 8)) - 1):
        yield f"the mask of {name} has bits behind its last image"


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**62:
        raise TypeError(f"{str(value)[:40]!r} is no count")
    return value


def _sparsity(record: Record, told: Mapping[str, Any]) -> Iterator[str]:
    layers = told["layers"]
    for name, of_layer in (("prunable", "total"), ("kept", "kept"), ("nonzero", "nonzero")):
        total = sum(_count(layer[of_layer]) for layer in layers)
        if _count(told[name]) != total:
            yield f"sparsity.{name} is {told[name]}, its layers give {total}"
    for layer in layers:
        if not layer["nonzero"] <= layer["kept"] <= layer["total"]:
            counts = f"keeps {layer['kept']} and holds {layer['nonzero']} of {layer['total']}"
            yield f"layer {str(layer['name'])[:80]} {counts}"
    reached = 1 - told["kept"] / told["prunable"] if told["prunable"] else math.nan
    if not abs(reached - told["reached"]) <= 1e-9:
        yield f"sparsity.reached is {str(told['reached'])[:40]}, its layers give {reached:.9f}"
    removed = told["prunable"] - told["kept"]
    if told["parameters_kept"] != told["parameters"] - removed:
        yield f"sparsity.parameters_kept is {told['parameters_kept']}, not {told['parameters'] - removed}"
    target = record["inputs"]["target"]
    if target["name"] == "sparsity" and told["asked"] != target["value"]:
        yield f"sparsity.asked is {told['asked']}, the target is {target['value']}"


def _ledger(outcome: Mapping[str, Any], sidecar: Path) -> Iterator[str]:
    if not sidecar.is_file():
        yield f"its ledger's vectors are missing: {sidecar.name}"
        return
    # Reading with the vectors checks their digest and that the totals are theirs.
    ledger = Ledger.from_record(outcome["ledger"], unpack_vectors(sidecar.read_bytes()))
    if ledger.samples != outcome["test"]["top1"]["total"]:
        yield f"its ledger counted {ledger.samples} samples, the test has {outcome['test']['top1']['total']}"
    nonzero = {layer.name: layer.nonzero for layer in ledger.layers}
    for layer in outcome["sparsity"]["layers"]:
        name = str(layer["name"]).removesuffix(".weight")
        if name in nonzero and nonzero[name] != layer["nonzero"]:
            yield f"layer {name[:80]} has {layer['nonzero']} non-zero weights, its ledger {nonzero[name]}"


def _cost(cost: Mapping[str, Any]) -> Iterator[str]:
    for phase in ("train", "prune", "tune", "judge"):
        for name, value in cost[phase].items():
            if value is not None and (isinstance(value, (bool, str)) or not 0 <= value < math.inf):
                yield f"cost.{phase}.{str(name)[:40]} is {str(value)[:40]!r}, not a figure of zero or more"


def _foreign(record: Record, registry: Registry) -> Iterator[str]:
    """Name what this bench says otherwise of its own entries: a data set's digest or split."""
    facts = record["inputs"]["dataset"]
    for found in registry.all("dataset"):
        entry = found.entry
        if entry.name != facts["name"] or found.origin.distribution != HOME:
            continue
        same_revision = record["inputs"]["revisions"]["dataset"] == entry.revision
        for name in ("digest", "split"):
            if same_revision and facts[name] != getattr(entry, name):
                yield f"its data set's {name} is {str(facts[name])[:80]}, this bench knows {getattr(entry, name)}"
        total = record["outcome"]["test"]["top1"]["total"]
        if total != entry.test:  # type: ignore[attr-defined]
            yield f"it was tested on {total} images, {entry.name} has {entry.test}"  # type: ignore[attr-defined]
