"""A board as tidy CSV, for machines: fractions rather than per cent, empty cells for gaps, nine significant digits."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from synobench.board import Board, Network
from synobench.board.figures import plain
from synobench.board.labels import full_text
from synobench.board.rows import Row, headline
from synobench.board.runs import COST, PHASES, Run
from synobench.board.twins import Twin
from synobench.stats.multiple import Comparison
from synobench.twins import KINDS

Cell = str | float | None
"""Text, a figure to be written with nine digits, or a gap. Whole numbers to be written in full are text."""

_PLACE = ("suite", "version", "dataset", "model", "entry", "parameters_of_entry", "setting", "target", "target_kind")
_SPENT = [(phase, item) for phase in PHASES for item in COST]
_COUNTED = [(phase, item) for phase, item in _SPENT if item != "seconds"]
_YARDSTICK, _CODE = ("gflops", "gbps"), ("version", "commit", "dirty")
_SIZES = ("kept", "prunable", "parameters_kept", "parameters")
_SHORT, _LONG = ("mean", "half", "n"), ("mean", "sd", "half", "n", "least", "most")
_TESTED, _GAP = ("p", "adjusted", "equivalence", "needed", "level"), ("n", "mean", "low", "high")
_FLIP, _CHANCE = ("p", "floor"), ("probability", "low", "high")


def board_csv(board: Board) -> str:
    """Return one row an entry, data set, network and target, over seeds."""
    heads = _row_heads(board)
    parts = [
        board.once("renderers.board", [network], partial(_lines, heads, partial(_rows, board, network)))
        for network in board.networks
    ]
    return _csv(heads, parts)


def runs_csv(board: Board) -> str:
    """Return one row a record, a twin's behind those of the first row that it stands behind."""
    heads = _run_heads(board)
    parts = [
        board.once("renderers.runs", [network], partial(_lines, heads, partial(_runs, board, network)))
        for network in board.networks
    ]
    return _csv(heads, parts)


def _rows(board: Board, network: Network) -> list[list[Cell]]:
    return [_row(board, network, row) for row in network.rows]


def _runs(board: Board, network: Network) -> list[list[Cell]]:
    held = {run.key: (row, run) for row in network.rows for run in row.behind}
    places = {id(row): _place(board, network, row) for row in network.rows}
    counted = _columns(board, network)
    return [_run(board, counted, places[id(row)], row, run) for row, run in held.values()]


def _row_heads(board: Board) -> list[str]:
    compared = [
        f"{name}_{head}" for name in ("reference", "control") for head in ("verdict", *_TESTED, *_prefixed(_GAP, _FLIP))
    ]
    estimates = [f"{n}_{key}" for n in ("sparsity", "synops", "synops_ratio", "parameters_kept") for key in _SHORT]
    return [
        *(*_PLACE, "target_value", "seeds", "missing"),
        *(f"top1_{key}" for key in _LONG),
        *(f"difference_{key}" for key in _SHORT),
        *(*compared, *(f"above_reference_{key}" for key in _CHANCE), *estimates),
        *("missed", "rank", "best_group", "deterministic"),
        *(f"gain_{kind}_{key}" for kind in KINDS for key in (*_SHORT, "same", "verdict")),
        *(f"{phase}_{item}" for phase, item in _COUNTED),
        *(f"{phase}_seconds" for phase in PHASES),
        *("machines", *board.columns),
    ]


def _prefixed(gap: Sequence[str], flip: Sequence[str]) -> list[str]:
    return [*(f"difference_{key}" for key in gap), *(f"sign_flip_{key}" for key in flip)]


def _row(board: Board, network: Network, row: Row) -> list[Cell]:
    seconds, cost, columns = row.mean_seconds, row.mean_cost, row.mean_columns
    spent: Mapping[str, float | None] = next(iter(seconds.values())) if len(seconds) == 1 else {}
    return [
        *_place(board, network, row),
        str(len(row.runs)),
        " ".join(map(str, row.missing)),
        *_facts(row.accuracy, _LONG),
        *_facts(row.difference, _SHORT),
        *_comparison(row.verdict),
        *_comparison(row.to_control),
        *_facts(row.superiority, _CHANCE),
        *_facts(row.sparsity, _SHORT),
        *_facts(row.synops, _SHORT),
        *_facts(row.synops_ratio, _SHORT),
        *_facts(row.parameters_kept, _SHORT),
        " ".join(map(str, row.missed)),
        str(row.rank or ""),
        _truth(row.best),
        _truth(row.deterministic),
        *(cell for kind in KINDS for cell in _gain(row.twins.get(kind))),
        *[cost[phase][item] for phase, item in _COUNTED],
        *[spent.get(phase) for phase in PHASES],
        _quoted(" | ".join(map(plain, seconds))),
        *[columns.get(name) for name in board.columns],
    ]


def _run_heads(board: Board) -> list[str]:
    return [
        *("key", *_PLACE, "target_value", "seed", "hits", "images", "top1", "top5", "validation", "sparsity"),
        *(*_SIZES, "synops", *(f"{phase}_{item}" for phase, item in _SPENT), "machine", *_YARDSTICK),
        *(*(f"code_{name}" for name in _CODE), *board.columns),
    ]


def _run(board: Board, counted: Iterable[tuple[str, str]], place: Sequence[Cell], row: Row, run: Run) -> list[Cell]:
    top1, top5, counts, metrics, cost = run.top1, run.top5, run.counts, run.metrics, run.cost
    code, yardstick = run.code, run.yardstick
    return [
        run.key,
        *(place if any(run is own for own in row.runs) else _twin(place, run)),
        str(run.seed),
        str(top1.hits),
        str(top1.total),
        top1.accuracy,
        top5.accuracy if top5 else None,
        run.validation,
        run.sparsity,
        *(str(run.kept), str(run.prunable), str(run.parameters_kept), str(run.parameters)),
        headline(run, board.suite.counter, board.suite.headlines),
        *[cost[phase][item] for phase, item in _SPENT],
        _quoted(run.machine),
        *[yardstick.get(name) for name in _YARDSTICK],
        *[_told(code.get(name)) for name in _CODE],
        *[counts[name].get(column) if name in counts else metrics.get(column) for name, column in counted],
    ]


def _columns(board: Board, network: Network) -> list[tuple[str, str]]:
    """Return counter and column behind each further column; a metric's stands without a counter."""
    runs = [run for row in network.rows for run in row.behind]
    counted = {(name, *columns) for run in runs for name, columns in run.counts.items()}
    places = {f"{name}.{column}": (name, column) for name, *columns in counted for column in columns}
    measured = {name for run in runs for name in run.metrics}
    return [("", name) if name in measured else places.get(name, ("", name)) for name in board.columns]


def _twin(place: Sequence[Cell], run: Run) -> list[Cell]:
    """Return the place of a host with what its twin is called."""
    pruner = run.inputs["pruner"]
    names = {"entry": _quoted(f"{pruner['name']} (twin)"), "parameters_of_entry": _quoted(full_text(pruner))}
    return [names.get(head, cell) for head, cell in zip((*_PLACE, "target_value"), place, strict=True)]


def _place(board: Board, network: Network, row: Row) -> list[Cell]:
    """Return where a row stands, under `_PLACE` and the value of its target."""
    told = (board.suite.name, board.suite.version, network.dataset, network.model, row.entry, row.detail, row.setting)
    return [*map(_quoted, told), _quoted(row.target_label), _quoted(str(row.target["name"])), row.target.get("value")]


def _comparison(found: Comparison | None) -> list[Cell]:
    """Return a comparison: its interval stands at `level`, and `adjusted` is its p by Holm over its family."""
    told = (*_facts(found, _TESTED), *_facts(found and found.difference, _GAP), *_facts(found and found.flip, _FLIP))
    return [found.verdict if found else "", *told]


def _facts(thing: object, names: Sequence[str]) -> list[Cell]:
    """Return some fields of a thing, all of them gaps where there is none."""
    return [None] * len(names) if thing is None else [getattr(thing, name) for name in names]


def _gain(twin: Twin | None) -> list[Cell]:
    verdict = twin.verdict.verdict if twin and twin.verdict else ""
    return [*_facts(twin.gain if twin else None, _SHORT), _truth(twin.same if twin else None), verdict]


def _truth(value: bool | None) -> str:
    return "" if value is None else str(value).lower()


def _told(value: Any) -> str:
    return "" if value is None else _quoted(str(value).lower() if isinstance(value, bool) else str(value))


@functools.lru_cache(maxsize=2**12)
def _quoted(text: str) -> str:
    """Return text as a cell of a row of several."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([plain(text), ""])
    return out.getvalue().removesuffix(",\n")


def _csv(heads: Sequence[str], parts: Sequence[str]) -> str:
    """Return a table of lines; one without any has no heads."""
    told = "".join(parts)
    return ",".join(map(_quoted, dict.fromkeys(heads) if told else ())) + "\n" + told


def _lines(heads: Sequence[str], made: Callable[[], Sequence[Sequence[Cell]]]) -> str:
    """Return rows as lines; of two columns of one name the first has the place and the last the cells."""
    places = {head: i for i, head in enumerate(heads)}
    twice = len(places) < len(heads)
    return "".join([_line([row[i] for i in places.values()] if twice else row) + "\n" for row in made()])


def _line(cells: Sequence[Cell]) -> str:
    line = _layout(tuple(map(type, cells))) % tuple(cells)
    if ",-0," in line or line.endswith(",-0"):  # there is no negative zero
        cells = [0.0 if cell == 0 else cell for cell in cells]
        line = _layout(tuple(map(type, cells))) % tuple(cells)
    return line


@functools.lru_cache(maxsize=2**10)
def _layout(kinds: Sequence[type]) -> str:
    """Return the format of a row of such cells: one call writes it whole."""
    return ",".join("%s" if issubclass(kind, str) else "%.0s" if kind is type(None) else "%.9g" for kind in kinds)
