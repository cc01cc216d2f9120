"""A board as tidy CSV, for machines: fractions rather than per cent, empty cells for gaps, nine significant digits."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synobench.board import Board, Network
from synobench.board.figures import exact, plain
from synobench.board.labels import full_text
from synobench.board.rows import Row, headline
from synobench.board.runs import COST, PHASES, Run
from synobench.board.twins import Twin
from synobench.stats import Estimate
from synobench.stats.multiple import Comparison
from synobench.stats.robust import Superiority
from synobench.twins import KINDS

Cells = dict[str, str]

_SPENT = [(f"{phase}_{item}", phase, item) for phase in PHASES for item in COST]


def board_csv(board: Board) -> str:
    """Return one row an entry, data set, network and target, over seeds."""
    rows = [_row(board, network, row) for network in board.networks for row in network.rows]
    return _csv(rows)


def runs_csv(board: Board) -> str:
    """Return one row a record, a twin's behind those of the first row that it stands behind."""
    places = {run.key: (row, run) for network in board.networks for row in network.rows for run in row.behind}
    rows = {id(row): _place(board, network, row) for network in board.networks for row in network.rows}
    return _csv([_run(board, rows[id(row)], row, run) for row, run in places.values()])


def _row(board: Board, network: Network, row: Row) -> Cells:
    several = len(row.seconds) > 1
    spent = {} if several or not row.seconds else next(iter(row.seconds.values()))
    return {
        **_place(board, network, row),
        "seeds": str(len(row.runs)),
        "missing": " ".join(map(str, row.missing)),
        **_estimate("top1", row.accuracy, extremes=True),
        **_estimate("difference", row.difference),
        **_comparison("reference", row.verdict),
        **_comparison("control", row.to_control),
        **_chance("above_reference", row.superiority),
        **_estimate("sparsity", row.sparsity),
        **_estimate("synops", row.synops),
        **_estimate("synops_ratio", row.synops_ratio),
        **_estimate("parameters_kept", row.parameters_kept),
        "missed": " ".join(map(str, row.missed)),
        "rank": str(row.rank or ""),
        "best_group": _truth(row.best),
        "deterministic": _truth(row.deterministic),
        **{name: value for kind in KINDS for name, value in _gain(kind, row.twins.get(kind)).items()},
        **{f"{phase}_{item}": _mean(row.cost[phase][item]) for phase in PHASES for item in COST if item != "seconds"},
        **{f"{phase}_seconds": _mean(spent.get(phase)) for phase in PHASES},
        "machines": " | ".join(plain(machine) for machine in row.seconds),
        **{name: _mean(row.columns.get(name)) for name in board.columns},
    }


def _run(board: Board, place: Cells, row: Row, run: Run) -> Cells:
    counts = {f"{n}.{c}": value for n, columns in run.counts.items() for c, value in columns.items()}
    columns = {**counts, **run.metrics}
    return {
        "key": run.key,
        **place,
        **_twin(row, run),
        "seed": str(run.seed),
        "hits": str(run.top1.hits),
        "images": str(run.top1.total),
        "top1": exact(run.top1.accuracy),
        "top5": exact(run.top5.accuracy if run.top5 else None),
        "validation": exact(run.validation),
        "sparsity": exact(run.sparsity),
        "kept": str(run.kept),
        "prunable": str(run.prunable),
        "parameters_kept": str(run.parameters_kept),
        "parameters": str(run.parameters),
        "synops": exact(headline(run, board.suite.counter, board.suite.headlines)),
        **{name: exact(run.cost[phase][item]) for name, phase, item in _SPENT},
        "machine": plain(run.machine),
        **{name: exact(run.yardstick.get(name)) for name in ("gflops", "gbps")},
        **{f"code_{name}": _told(run.code.get(name)) for name in ("version", "commit", "dirty")},
        **{name: exact(columns.get(name)) for name in board.columns},
    }


def _twin(row: Row, run: Run) -> Cells:
    """Return what a twin is called in place of its host."""
    if any(run is own for own in row.runs):
        return {}
    pruner = run.inputs["pruner"]
    return {"entry": plain(f"{pruner['name']} (twin)"), "parameters_of_entry": plain(full_text(pruner))}


def _place(board: Board, network: Network, row: Row) -> Cells:
    return {
        "suite": plain(board.suite.name),
        "version": plain(board.suite.version),
        "dataset": plain(network.dataset),
        "model": plain(network.model),
        "entry": plain(row.entry),
        "parameters_of_entry": plain(row.detail),
        "setting": plain(row.setting),
        "target": plain(row.target_label),
        "target_kind": plain(str(row.target["name"])),
        "target_value": exact(row.target.get("value")),
    }


def _estimate(name: str, estimate: Estimate | None, *, extremes: bool = False) -> Cells:
    told: Mapping[str, Any] = {"mean": None, "sd": None, "half": None, "n": None, "least": None, "most": None}
    if estimate is not None:
        told = {key: getattr(estimate, key) for key in told}
    kept = told if extremes else {key: told[key] for key in ("mean", "half", "n")}
    return {f"{name}_{key}": exact(value) for key, value in kept.items()}


def _comparison(name: str, found: Comparison | None) -> Cells:
    """Return a comparison: its interval stands at `level`, and `adjusted` is its p by Holm over its family."""
    told = {
        "": _facts(found, ("p", "adjusted", "equivalence", "needed", "level")),
        "difference_": _facts(found and found.difference, ("n", "mean", "low", "high")),
        "sign_flip_": _facts(found and found.flip, ("p", "floor")),
    }
    figures = {f"{name}_{part}{key}": exact(v) for part, held in told.items() for key, v in held.items()}
    return {f"{name}_verdict": found.verdict if found else "", **figures}


def _chance(name: str, found: Superiority | None) -> Cells:
    return {f"{name}_{key}": exact(v) for key, v in _facts(found, ("probability", "low", "high")).items()}


def _facts(thing: object, names: Iterable[str]) -> dict[str, float | None]:
    """Return some fields of a thing, all of them gaps where there is none."""
    return {name: getattr(thing, name, None) for name in names}


def _gain(kind: str, twin: Twin | None) -> Cells:
    verdict = twin.verdict.verdict if twin and twin.verdict else ""
    told = {f"gain_{kind}_same": _truth(twin.same if twin else None), f"gain_{kind}_verdict": verdict}
    return {**_estimate(f"gain_{kind}", twin.gain if twin else None), **told}


def _mean(estimate: Estimate | None) -> str:
    return exact(estimate.mean if estimate else None)


def _truth(value: bool | None) -> str:
    return "" if value is None else str(value).lower()


def _told(value: Any) -> str:
    return "" if value is None else plain(str(value).lower() if isinstance(value, bool) else str(value))


def _csv(rows: Sequence[Cells]) -> str:
    heads = list(rows[0]) if rows else []
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([row[head] for head in heads] for row in rows)
    return out.getvalue()
