"""One cell, from parent to record: prune -> fine-tune -> judge, each step measured by the bench."""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from synobench import networks, provenance, seeds
from synobench.entries import NO_RULE
from synobench.errors import BenchError
from synobench.jobs import Job, Notify, Stage
from synobench.ledger import pack_vectors
from synobench.ledger.recorder import Recorder
from synobench.networks import steps_of
from synobench.parents import Checkpoint, Parent, obtain
from synobench.pruning import Pruning, session_of
from synobench.registry import Registry
from synobench.store import SCHEMA, Record, Store, canonical, pack_mask
from synobench.training import Phase, accuracy_on, judged

Result = dict[str, Any]


def perform(job: Mapping[str, Any], notify: Notify = lambda _: None) -> Result:
    """Carry out one job, a ``parent`` or a ``cell``; what goes wrong becomes a failure, stored and returned.

    Args:
        job: plain data: ``job`` (its kind), ``key``, ``label``, ``inputs``, ``parent``, ``parent_key``, ``root``,
            ``cache``; and, where wanted, ``data``, ``device``, ``plugins``, ``strict``, ``offline``,
            ``checkpoint_seconds``.
        notify: told how far it is.

    Returns:
        ``status`` (``ok`` or ``failed``), ``key``, and ``path`` of what was stored or ``error``.
    """
    stage = Stage(notify=notify)
    started = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        torch.set_num_threads(job["inputs"]["budget"]["threads"])
        _in_full()
        measured = provenance.yardstick(job.get("device") or "cpu", job["inputs"]["budget"]["threads"])
        work = Job({**job, "yardstick": measured, "started": started}, notify, stage)
        if job["job"] == "parent":
            obtain(work)
            return {"status": "ok", "key": job["key"]}
        record, vectors = run_cell(work)
        path = Store(Path(job["root"])).add(record, vectors)
        return {"status": "ok", "key": job["key"], "path": str(path), **_headline(record)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's code may raise anything; the rest of the suite goes on
        return _failed(job, stage, error, started)


def _in_full() -> None:
    """Let float32 be float32 on an accelerator too, where convolutions would by default round to ten bits (TF32)."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def _headline(record: Record) -> dict[str, Any]:
    """Return what a progress line shows: hits of total, and the cost."""
    top1 = record["outcome"]["test"]["top1"]
    return {"outcome": {"test": {"top1": {k: top1[k] for k in ("hits", "total")}}}, "cost": record["cost"]}


def _failed(job: Mapping[str, Any], stage: Stage, error: BaseException, started: str) -> Result:
    told = {
        "stage": stage.name,
        "plugin": stage.plugin,
        "kind": type(error).__name__,
        "message": " ".join(str(error).split()) or type(error).__name__,
        "traceback": traceback.format_exc(limit=-12),
    }
    if job["job"] != "parent":
        failure = {
            "schema": SCHEMA,
            "key": job["key"],
            "status": "failed",
            "inputs": job["inputs"],
            "error": told,
            "provenance": {"started": started},
        }
        Store(Path(job["root"])).fail(failure)
    return {"status": "failed", "key": job["key"], "error": told}


def run_cell(job: Job) -> tuple[Record, bytes]:
    """Return the record of one cell and the packed vectors of its ledger."""
    with job.stage.at("train"):
        parent = obtain(job)
    for phase in ("train", "prune"):
        job.meter.charge(phase, parent.facts["cost"][phase])
    seeds.reseed(job.inputs["seed"], "cell")
    with job.stage.at("build"):
        model = networks.build(job.inputs, job.registry, job.device)
    model.load_state_dict(parent.state)
    pruning = Pruning(job, model, parent=parent.facts["weights"])
    told = {name: parent.facts.get(name, {}) for name in ("measurements", "shared")}
    pruning.resume({"masks": parent.masks, "state": parent.pruner_state, **told})
    with job.meter.watch(model):
        curve, resumed = _prune_and_tune(job, pruning)
        outcome, vectors = _judge(job, pruning)
    outcome["curves"] = {"train": parent.facts["curve"], "tune": curve}
    # A parent of an older bench was not measured: a gap.
    outcome["measurements"] = {**parent.facts.get("training", {}), **pruning.measurements}
    return _record(job, parent, pruning, outcome, resumed), vectors


def _prune_and_tune(job: Job, pruning: Pruning) -> tuple[list[dict[str, float]], bool]:
    kept = Checkpoint(job.kept("cells", job.facts["key"]) / "resume.safetensors", job)
    resumed = kept.load()
    if resumed is not None:
        pruning.resume(resumed)
        job.meter.restore(resumed["meter"])
    elif pruning.acts("trained"):
        pruning.prune()

    def save(tree: Any) -> None:
        kept.save({**tree, **pruning.left(), "meter": job.meter.state()})

    curve = _tune(job, pruning, resumed, save)
    kept.clear()
    return curve, resumed is not None


def _tune(job: Job, pruning: Pruning, resumed: Any, save: Any) -> list[dict[str, float]]:
    if job.inputs["tune"]["name"] == NO_RULE:
        return []
    rule, _, found = job.rule("tune")
    phase = Phase(
        session=session_of(job, pruning.model, "tune", job.inputs["budget"]["tune_epochs"]),
        rule=rule,
        meter=job.meter,
        validation=job.validation,
        referee=pruning.referee,
        notify=job.notify,
        after_update=pruning.stepper("adjust") if pruning.acts("fine-tuning") else None,
        saved=save,
    )
    with job.stage.at("tune", found):
        phase.run(resumed)
    return phase.curve


def _judge(job: Job, pruning: Pruning) -> tuple[dict[str, Any], bytes]:
    """Unseal the test data and measure: hits, sparsity, and the ledger, in one pass."""
    model, inputs = pruning.model, job.inputs
    with job.stage.at("judge"), job.meter.phase("judge"):
        pruning.referee.verify()
        recorder = Recorder(model, steps_of(model))
        with recorder:
            ranks = torch.cat(list(judged(model, job.feed(job.splits.unseal()))))
        ledger = recorder.ledger()
    target = inputs["target"]
    asked = target["value"] if target["name"] == "sparsity" else None
    outcome = {
        "test": {"top1": _hits(ranks < 1), "top5": _hits(ranks < 5)},
        "validation": _validation(job, model),
        "sparsity": pruning.referee.report(asked),
        "ledger": ledger.as_record(),
        "deployed": {},
    }
    return outcome, pack_vectors(ledger)


def _hits(found: torch.Tensor) -> dict[str, Any]:
    return {"hits": int(found.sum()), "total": found.numel(), "mask": pack_mask(found.tolist())}


def _validation(job: Job, model: nn.Module) -> dict[str, int]:
    total = len(job.validation)
    return {"hits": round(accuracy_on(model, job.validation) * total), "total": total}


def _record(job: Job, parent: Parent, pruning: Pruning, outcome: Mapping[str, Any], resumed: bool) -> Record:
    gathered = provenance.gather(job.plugins, job.device, job.inputs["budget"]["threads"])
    gathered.update(
        {
            "started": job.facts["started"],
            "yardstick": job.facts["yardstick"],
            "resumed": resumed or parent.facts["resumed"],
            "shared": {
                "parent": {k: parent.facts.get(k) for k in ("weights", "cost", "device", "yardstick", "plugins")},
                "once": pruning.shared,
            },
            "events": _told_by_plugins(job.registry),
        }
    )
    return {
        "schema": SCHEMA,
        "key": job.facts["key"],
        "status": "ok",
        "inputs": dict(job.inputs),
        "outcome": dict(outcome),
        "cost": job.meter.as_dict(),
        "provenance": gathered,
    }


def _told_by_plugins(registry: Registry) -> dict[str, Any]:
    """Return what plugins add to the provenance; what is not plain data is left out, for it must not cost the run."""
    told = {}
    for name, facts in registry.notify("synobench_provenance"):
        try:
            canonical(facts)
        except BenchError as error:
            registry.warn(f"plugin {name!r} failed in synobench_provenance: {error}")
        else:
            told[name] = facts
    return told
