"""Verification: what a stored record claims is derived again from its own evidence, without torch."""

from __future__ import annotations

import base64
import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from synobench.entries import NAME, DatasetEntry
from synobench.errors import BenchError
from synobench.ledger import Layer, Ledger, unpack_vectors
from synobench.measurements import ROOM, TRAINING, figure, largest, misfit, rows
from synobench.registry import HOME, Registry
from synobench.shape import LARGEST, misshapen, unwritten
from synobench.store import Record, Store, canonical, key_of, read_json
from synobench.submission import missing_seeds, strangers
from synobench.twins import allocation_of

LONGEST = 300
"""The most characters of a finding: a forged field may hold a book."""

SUMMED = ("prunable", "kept", "nonzero")


def verify_suite(store: Store, suite: str, registry: Registry) -> tuple[int, list[str]]:
    """Check every record of a suite, and all of them together.

    Returns:
        How many records were seen, and one line a finding.
    """
    findings, held = [], []
    for path in (paths := store.paths(suite)):
        told = verify_file(path, suite, registry)
        findings += [f"{path}: {line}" for line in told]
        if not told:
            held.append(read_json(path)["inputs"])
    # Of a record that does not hold nobody can tell which seed it is: that is mended first.
    told = [*strangers(store, suite), *(missing_seeds(suite, held, registry) if len(held) == len(paths) else ())]
    return len(paths), findings + [_line(finding) for finding in told]


def verify_file(path: Path, suite: str, registry: Registry) -> list[str]:
    """Return what is wrong with one record's file, a line each; nothing where all holds."""
    findings: list[str] = []
    try:
        if (size := path.stat().st_size) > LARGEST:
            return [f"it has {size:,} bytes; a record has at most {LARGEST:,}"]
        record = read_json(path)
        for told in _findings(record, path, suite, registry):
            findings.append(told)  # noqa: PERF402 - what was found stays where a later check breaks
        # What the checks above say of a forged field is plainer than what a schema can say.
        findings = findings or [*misshapen(record), *unwritten(path, record)]
    except BenchError as error:
        findings.append(str(error).removeprefix(f"{path} "))
    except Exception as error:  # noqa: BLE001 - a forged file may hold anything
        kind = f"it is not shaped like a record: {type(error).__name__}: {error}"
        findings.append(next(_of_shape(path), kind))
    return [_line(told) for told in findings]


def _of_shape(path: Path) -> Iterator[str]:
    """Name what the schema says of a file on which a check broke, if it says anything."""
    with contextlib.suppress(BenchError, RecursionError, TypeError):
        yield from misshapen(read_json(path))


def _line(told: str) -> str:
    return " ".join(told.split())[:LONGEST]


def _findings(record: Record, path: Path, suite: str, registry: Registry) -> Iterator[str]:
    outcome = record["outcome"]
    yield from _identity(record, path, suite)
    wrong = list(_scores(outcome["test"]))
    yield from wrong
    yield from _validation(outcome["validation"])
    yield from (layered := list(_sparsity(outcome["sparsity"], record["inputs"]["target"])))
    yield from _allocated(outcome["sparsity"], record["inputs"]["pruner"])
    yield from _ledger(outcome, path.with_suffix(".ledger"))
    yield from _measured(outcome["measurements"])
    if not layered:
        yield from _norms(outcome["measurements"], {str(layer["name"]) for layer in outcome["sparsity"]["layers"]})
    yield from _cost(record["cost"])
    yield from _dataset(record, registry)
    if record["inputs"]["parent"]["name"] == "checkpoint":
        yield from _checkpoint(record, registry)
    if not wrong:
        yield from _samples(record, registry)


def _identity(record: Record, path: Path, suite: str) -> Iterator[str]:
    key = key_of(record["inputs"])
    if record["key"] == path.stem != key:
        yield f"its inputs give the key {key}, not the one that it is stored under"
    elif record["key"] != key:
        yield f"its key is {str(record['key'])[:80]!r}, its inputs give {key}"
    elif path.stem != key or path.parent.name != key[:2]:
        yield f"it lies under {path.parent.name}/{path.name}, its inputs give {key[:2]}/{key}.json"
    if record["status"] != "ok":
        yield f"its status is {str(record['status'])[:80]!r}; only ok records lie here"
    if strange := [name for name in _names(record["inputs"]) if not NAME.fullmatch(name)]:
        yield f"{strange[0][:80]!r} is no name of anything: names are made of a-z, 0-9, '.', '+' and '-'"
    if record["inputs"]["suite"]["name"] != suite:
        yield f"it belongs to suite {str(record['inputs']['suite']['name'])[:80]!r}, not {suite!r}"


def _names(inputs: Mapping[str, Any]) -> Iterator[str]:
    for role in ("dataset", "model", "neuron", "rule", "tune", "pruner", "export"):
        if inputs[role] is not None:
            yield str(inputs[role]["name"])


def _scores(test: Mapping[str, Any]) -> Iterator[str]:
    top1, top5 = test["top1"], test["top5"]
    if _count(top1["total"]) != _count(top5["total"]):
        yield f"top1 has {top1['total']} images, top5 has {top5['total']}"
        return
    broken = [*_hits("top1", top1), *_hits("top5", top5)]
    yield from broken
    first, five = (int.from_bytes(base64.b64decode(score["mask"]), "big") for score in (top1, top5))
    if not broken and first & ~five:
        yield f"{(first & ~five).bit_count()} hits of top1 are none of top5"


def _hits(name: str, test: Mapping[str, Any]) -> Iterator[str]:
    total, mask = _count(test["total"]), base64.b64decode(test["mask"], validate=True)
    if len(mask) != (total + 7) // 8:
        yield f"the mask of {name} has {len(mask)} bytes, {total} images need {(total + 7) // 8}"
        return
    ones = int.from_bytes(mask, "big").bit_count()
    if ones != _count(test["hits"]):
        yield f"{name} claims {test['hits']} hits, its mask has {ones}"
    if total % 8 and mask[-1] & ((1 << (8 - total % 8)) - 1):
        yield f"the mask of {name} has bits behind its last image"


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**62:
        raise TypeError(f"{str(value)[:40]!r} is no count")
    return value


def _validation(told: Mapping[str, Any]) -> Iterator[str]:
    if _count(told["hits"]) > _count(told["total"]):
        yield f"validation claims {told['hits']} hits of {told['total']} images"


def _sparsity(told: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[str]:
    layers = told["layers"]
    sums = {n: sum(_count(layer["total" if n == "prunable" else n]) for layer in layers) for n in SUMMED}
    wrong = [f"sparsity.{n} is {told[n]}, its layers give {total}" for n, total in sums.items() if told[n] != total]
    yield from wrong
    for layer in layers:
        if not layer["nonzero"] <= layer["kept"] <= layer["total"]:
            counts = f"keeps {layer['kept']} and holds {layer['nonzero']} of {layer['total']}"
            yield f"layer {str(layer['name'])[:80]} {counts}"
    if not wrong:
        yield from _reached(told, target, sums["prunable"] - sums["kept"])


def _allocated(told: Mapping[str, Any], pruner: Mapping[str, Any]) -> Iterator[str]:
    """Name a twin that does not keep what its host keeps."""
    asked, kept = allocation_of(pruner), [layer["kept"] for layer in told["layers"]]
    if asked and asked != kept:
        yield f"its allocation is {'/'.join(map(str, asked))[:90]}, its layers keep {'/'.join(map(str, kept))[:90]}"


def _reached(told: Mapping[str, Any], target: Mapping[str, Any], removed: int) -> Iterator[str]:
    reached = removed / told["prunable"] if told["prunable"] else math.nan
    if not abs(reached - told["reached"]) <= 1e-9:
        yield f"sparsity.reached is {str(told['reached'])[:40]}, its layers give {reached:.9f}"
    if _count(told["parameters_kept"]) != _count(told["parameters"]) - removed:
        yield f"sparsity.parameters_kept is {told['parameters_kept']}, not {told['parameters'] - removed}"
    asked = target["value"] if target["name"] == "sparsity" else None
    if told["asked"] != asked:
        yield f"sparsity.asked is {str(told['asked'])[:40]}, the target asks {asked}"


def _ledger(outcome: Mapping[str, Any], sidecar: Path) -> Iterator[str]:
    if not sidecar.is_file():
        yield f"its ledger's vectors are missing: {sidecar.name}"
        return
    vectors = unpack_vectors(sidecar.read_bytes())
    # Reading with the vectors checks that they are those of the record's digest.
    ledger = Ledger.from_record(outcome["ledger"], vectors)
    wrong = [told for layer in ledger.layers for told in _totals(layer, vectors[layer.name])]
    yield from wrong
    if wrong:
        return
    nonzero = {layer.name: layer.nonzero for layer in ledger.layers}
    for facts in outcome["sparsity"]["layers"]:
        name = str(facts["name"]).removesuffix(".weight")
        if name in nonzero and nonzero[name] != facts["nonzero"]:
            yield f"layer {name[:80]} has {facts['nonzero']} non-zero weights, its ledger {nonzero[name]}"


def _totals(layer: Layer, vectors: Mapping[str, Any]) -> Iterator[str]:
    """Add the vectors of one layer up again."""
    weights = vectors["weights"]
    told = {"events": layer.events, "fanout": layer.fanout, "effective": layer.effective}
    sums = {name: sum(vectors[name]) for name in told}
    told |= {"events by step": layer.events, "weights by output": layer.nonzero, "weights by input": layer.nonzero}
    sums |= {"events by step": sum(vectors["steps"])}
    sums |= {f"weights by {side}": sum(weights[side]) for side in ("output", "input")}
    if layer.events_before is not None and vectors["before"] is not None:
        told["events before pooling"], sums["events before pooling"] = layer.events_before, sum(vectors["before"])
    for name, total in told.items():
        if sums[name] != total:
            yield f"layer {layer.name[:80]} of the ledger tells {total} {name}, its vectors give {sums[name]}"
            return
    if not 0 <= layer.effective <= layer.fanout <= layer.dense:
        order = f"{layer.effective} effective, {layer.fanout} fan-out and {layer.dense} dense"
        yield f"layer {layer.name[:80]} of the ledger has {order} operations, which must not fall"


def _measured(told: Mapping[str, Any]) -> Iterator[str]:
    """Name measurements that are none, that take too much room, or that contradict each other."""
    if (size := len(canonical(told).encode())) > sum(ROOM.values()):
        yield f"its measurements take {size:,} bytes; there is room for {sum(ROOM.values()):,}"
        return
    broken = [f"its measurement {str(name)[:80]!r} {why}" for name, value in told.items() if (why := misfit(value))]
    yield from broken
    if broken:
        return
    for name, value in told.items():
        if name.startswith(TRAINING) and any(figure(v) != v for _, row in rows(value) for v in row if v is not None):
            yield f"its measurement {str(name)[:80]!r} has more digits than the bench writes"
    looks = [row for _, row in rows(told.get(f"{TRAINING}validation"))]
    if not all(len(row) == 2 and None not in row and 0 <= row[1] <= 1 for row in looks):  # type: ignore[operator]
        yield f"its measurement '{TRAINING}validation' holds what is no share of images"


def _norms(told: Mapping[str, Any], layers: set[str]) -> Iterator[str]:
    """Name update norms that cannot be those of the network, or a largest one that is not theirs."""
    norms, most = told.get(f"{TRAINING}update-norm"), told.get(f"{TRAINING}largest-update")
    if not isinstance(norms, Mapping) or misfit(norms):
        return
    if strange := sorted(set(norms["by"]) - layers):
        yield f"its update norms are of {strange[0][:80]!r}, which is no prunable tensor of its network"
    if any(value is not None and value < 0 for _, row in rows(norms) for value in row):
        yield "its update norms are below zero"
    if most != largest(norms):
        yield f"its largest update is {str(most)[:40]}, its update norms give {largest(norms)}"


def _cost(cost: Mapping[str, Any]) -> Iterator[str]:
    for phase in ("train", "prune", "tune", "judge"):
        for name, value in cost[phase].items():
            if value is not None and (isinstance(value, (bool, str)) or not 0 <= value < math.inf):
                yield f"cost.{phase}.{str(name)[:40]} is {str(value)[:40]!r}, not a figure of zero or more"


def _dataset(record: Record, registry: Registry) -> Iterator[str]:
    """Name what this bench says otherwise of its own data set: digest or split."""
    facts, entry = record["inputs"]["dataset"], _known(record, registry)
    if entry is None or record["inputs"]["revisions"]["dataset"] != entry.revision:
        return
    for name in ("digest", "split"):
        if facts[name] != getattr(entry, name):
            yield f"its data set's {name} is {str(facts[name])[:80]}, this bench knows {getattr(entry, name)}"


def _checkpoint(record: Record, registry: Registry) -> Iterator[str]:
    """Name what this bench says otherwise of its own checkpoint, and a network that cannot be it."""
    parent, weights = record["inputs"]["parent"], record["provenance"]["shared"]["parent"]["weights"]
    if parent["rebuild"] is None and weights != parent["digest"]:
        yield f"it stands on weights {str(weights)[:80]}, its checkpoint has {str(parent['digest'])[:80]}"
    for found in registry.all("checkpoint"):
        entry: Any = found.entry
        if entry.name != parent["checkpoint"] or record["inputs"]["revisions"]["parent"] != entry.revision:
            continue
        for name, known in (("digest", entry.digest), ("mean", list(entry.mean)), ("std", list(entry.std))):
            if parent[name] != known:
                yield f"its checkpoint's {name} is {str(parent[name])[:80]}, this bench knows {known}"


def _samples(record: Record, registry: Registry) -> Iterator[str]:
    """Name what counted other images than the test has."""
    total, entry = record["outcome"]["test"]["top1"]["total"], _known(record, registry)
    counted = record["outcome"]["ledger"]["samples"]
    if entry is not None and total != entry.test:
        yield f"it was tested on {total} images, {entry.name} has {entry.test}"
    elif counted != total:
        yield f"its ledger counted {str(counted)[:40]} samples, the test has {total}"


def _known(record: Record, registry: Registry) -> DatasetEntry | None:
    """Return the record's data set where it is one of the bench's own."""
    name = record["inputs"]["dataset"]["name"]
    own = [f.entry for f in registry.all("dataset") if f.entry.name == name and f.origin.distribution == HOME]
    return own[0] if own else None  # type: ignore[return-value]
