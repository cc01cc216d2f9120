"""Records made up for tests of counters, metrics, renderers and boards: complete, consistent, without meaning."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from synobench.params import parse_spec
from synobench.store import key_of

Record = dict[str, Any]

DENSE = {"name": "none"}
LAYERS = (("conv1", 144), ("fc", 1600))
"""The layers of the made-up network, and how many weights each has."""

_BIASES = 26


def make_record(  # noqa: PLR0913
    pruner: str | Mapping[str, Any] = "magnitude",
    target: Mapping[str, Any] | float | None = 0.9,
    seed: int = 0,
    hits: int = 150,
    total: int = 200,
    *,
    dataset: str = "digits",
    model: str = "snn-conv",
    sparsity: float | None = None,
    machine: str = "cpu",
    seconds: float = 1.5,
    **inputs: Any,
) -> Record:
    """Return an ``ok`` record.

    Args:
        pruner: as ``name[key=value]``, or as in a record.
        target: as in a record; a number is a sparsity, None the dense control's.
        seed: of the run.
        hits: on the test split; which images are hit depends on the seed alone, so that runs are paired.
        total: number of test images.
        dataset: name.
        model: as ``name[key=value]``.
        sparsity: what was reached; the target's value (0 without one) unless it is given.
        machine: name of the device.
        seconds: of the training phase; the others follow from it.
        inputs: replaces whole roles of the inputs (``rule={...}``).
    """
    resolved = make_inputs(pruner, target, seed, dataset=dataset, model=model, **inputs)
    asked = resolved["target"].get("value", 0.0) if resolved["target"]["name"] == "sparsity" else 0.0
    reached = asked if sparsity is None else sparsity
    score = {"hits": hits, "total": total, "mask": hit_mask(hits, total, seed)}
    top5 = min(total, hits + (total - hits) // 2)
    return {
        "schema": 1,
        "key": key_of(resolved),
        "status": "ok",
        "inputs": resolved,
        "outcome": {
            "test": {"top1": score, "top5": {"hits": top5, "total": total, "mask": hit_mask(top5, total, seed)}},
            "validation": {"hits": hits // 2, "total": total // 2},
            "sparsity": _sparsity(resolved["target"], reached),
            "ledger": make_ledger(reached),
            "curves": {"train": [{"epoch": 1, "loss": 0.5, "validation": 0.9}], "tune": []},
            "measurements": {},
            "deployed": {},
        },
        "cost": {p: _cost(seconds * f) for p, f in (("train", 1.0), ("prune", 0.01), ("tune", 0.5), ("judge", 0.1))},
        "provenance": {
            "code": {"version": "0.1.0", "commit": "0" * 40, "dirty": False},
            "device": {"name": machine, "threads": 1},
            "yardstick": {"gflops": 40.0 + seed, "gbps": 5.0},
            "started": "2026-01-01T00:00:00Z",
        },
    }


def make_failure(
    pruner: str | Mapping[str, Any] = "magnitude", target: float = 0.9, seed: int = 0, **inputs: Any
) -> Record:
    """Return the failure of a cell."""
    resolved = make_inputs(pruner, target, seed, **inputs)
    error = {"stage": "prune", "plugin": "synobench_magnitude", "kind": "ValueError", "message": "no finite score"}
    return {"schema": 1, "key": key_of(resolved), "status": "failed", "inputs": resolved, "error": error}


def make_inputs(
    pruner: str | Mapping[str, Any] = "magnitude",
    target: Mapping[str, Any] | float | None = 0.9,
    seed: int = 0,
    *,
    dataset: str = "digits",
    model: str = "snn-conv",
    **inputs: Any,
) -> dict[str, Any]:
    """Return the resolved inputs of a cell of the made-up suite ``demo`` 1.0."""
    aim = DENSE if target is None else target if isinstance(target, Mapping) else {"name": "sparsity", "value": target}
    parent = key_of({"dataset": dataset, "model": model, "seed": seed})
    rule = {"name": "backprop", "params": {"lr": 0.01}}
    return {
        "suite": {"name": "demo", "version": "1.0"},
        "dataset": {"name": dataset, "digest": "sha256:00", "split": "sha256:11"},
        "model": {**part(model), "prunable": ["*"]},
        "neuron": {"name": "fused", "params": {"tau": 2.0}} if model.startswith("snn") else None,
        "parent": {"name": "trained", "key": parent},
        "rule": rule,
        "pruner": part(pruner),
        "tune": rule,
        "target": dict(aim),
        "export": None,
        "seed": seed,
        "budget": {"train_epochs": 3, "tune_epochs": 1, "batch": 64, "precision": "float32", "threads": 1},
        "revisions": {"bench": 1, "dataset": 1, "model": 1, "rule": 1, "pruner": 1, "tune": 1},
        **inputs,
    }


def make_records(
    means: Mapping[str, Sequence[int]],
    targets: Sequence[float] = (0.5, 0.8, 0.9, 0.95),
    seeds: Iterable[int] = range(5),
    networks: Sequence[tuple[str, str]] = (("digits", "snn-conv"),),
    dense: int = 190,
) -> Iterator[Record]:
    """Yield the records of a whole suite, the dense control's first.

    Args:
        means: pruner -> hits (of 200) at each target, less what a seed adds or takes.
        targets: sparsities.
        seeds: of every cell.
        networks: data set and model of each network.
        dense: hits of the control.
    """
    seeds = list(seeds)
    for dataset, model in networks:
        place: dict[str, Any] = {"dataset": dataset, "model": model}
        yield from (make_record("none", None, s, dense + s % 3 - 1, **place) for s in seeds)
        for (pruner, hits), s in ((item, s) for item in means.items() for s in seeds):
            for target, hit in zip(targets, hits, strict=True):
                yield make_record(pruner, target, s, hit + wobble(pruner, target, s), **place)


def wobble(pruner: str, target: float, seed: int) -> int:
    """Return the hits, -2 to 2, that a seed adds to a made-up cell."""
    return random.Random(f"{pruner} {target} {seed}").randint(-2, 2)


def hit_mask(hits: int, total: int, seed: int) -> str:
    """Return base64 of `total` bits of which `hits` are ones, the first image in the highest bit."""
    order = random.Random(f"images {seed}").sample(range(total), total)
    size = (total + 7) // 8
    bits = sum(1 << (8 * size - 1 - image) for image in order[:hits])
    return base64.b64encode(bits.to_bytes(size, "big")).decode()


def part(spec: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return ``name[key=value]`` as a named object, with its values as text."""
    if isinstance(spec, Mapping):
        return dict(spec)
    name, params = parse_spec(spec)
    return {"name": name, "params": params}


def make_ledger(sparsity: float, steps: int = 4, samples: int = 200) -> dict[str, Any]:
    """Return a ledger of two layers in which each weight is used by a quarter of the steps."""
    return {
        "steps": steps,
        "samples": samples,
        "digest": "sha256:22",
        "beside": {"bias": 0},
        "uncounted": [],
        "layers": [_layer(name, size, sparsity, steps, samples) for name, size in LAYERS],
    }


def _layer(name: str, size: int, sparsity: float, steps: int, samples: int) -> dict[str, Any]:
    dense, kept = size * steps * samples, size - round(size * sparsity)
    return {
        "name": name,
        "op": "linear",
        "weight": [1, size],
        "input": [size],
        "output": [1],
        "samples": samples,
        "steps": steps,
        "calls": steps,
        "kind": "binary",
        "source": ["conv1"] if name == "fc" else ["encoder"],
        "nonzero": kept,
        "events": dense // 4,
        "neurons": 1,
        "dense": dense,
        "fanout": dense // 4,
        "effective": kept * steps * samples // 4,
    }


def _sparsity(target: Mapping[str, Any], reached: float) -> dict[str, Any]:
    kept = [size - round(size * reached) for _, size in LAYERS]
    layers = [{"name": n, "total": s, "kept": k, "nonzero": k} for (n, s), k in zip(LAYERS, kept, strict=True)]
    prunable = sum(size for _, size in LAYERS)
    return {
        "asked": target.get("value") if target["name"] == "sparsity" else None,
        "reached": (prunable - sum(kept)) / prunable,
        "prunable": prunable,
        "kept": sum(kept),
        "nonzero": sum(kept),
        "parameters": prunable + _BIASES,
        "parameters_kept": sum(kept) + _BIASES,
        "layers": layers,
    }


def _cost(seconds: float) -> dict[str, Any]:
    passes = round(1000 * seconds)
    return {
        "seconds": seconds,
        "cpu_seconds": 1.5 * seconds,
        "samples": 64 * passes,
        "forward": passes,
        "backward": passes,
        "peak_bytes": None,
        "trials": 0,
    }
