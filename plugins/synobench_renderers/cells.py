"""What the tables of a board say, cell by cell, in plain text: each medium escapes and lays out for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synobench.board import Board, Network, figures, findings
from synobench.board.labels import target_order, target_text
from synobench.board.rows import Row
from synobench.board.runs import PHASES
from synobench.protocol import RULE, Published

SCORES = ("#", "entry", "top-1 %", "seeds", "to dense", "verdict", "SynOps", "ratio", "sparsity %", "remarks")
"""The heads of the main table."""

LEFT = frozenset({"entry", "against", "target", "verdict", "remarks", "source", "not met", "item", "what decides"})
"""The heads of columns that hold words."""


@dataclass(frozen=True)
class Table:
    """A titled table of plain text."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def scores(network: Network) -> tuple[str, ...]:
    """Return the heads of a network's main table: among rules the difference to the reference stands there too."""
    before = SCORES.index("to dense")
    return (*SCORES[:before], *(("to reference",) if network.versus == RULE else ()), *SCORES[before:])


def score_cells(row: Row, network: Network) -> tuple[str, ...]:
    """Return a row of the main table, under `scores`."""
    return (
        "" if row.control else str(row.rank or figures.GAP),
        row.label,
        figures.accuracy(row),
        figures.count(row),
        *((findings.to_reference(row, network),) if network.versus == RULE else ()),
        figures.GAP if row.control else figures.percent(row.difference, sign=True),
        findings.verdict(row.verdict),
        figures.amount(row.synops),
        figures.ratio(row.synops_ratio),
        figures.sparsity(row.sparsity),
        "dense control" if row.control else ", ".join(figures.remarks(row)),
    )


def verdicts(network: Network) -> Table:
    """Return the comparisons of a network with its reference entry and its dense control."""
    return _titled("Against the reference and the dense control, in points", findings.verdicts(network))


def curves(network: Network) -> Table:
    """Return what each entry of a network reaches over all targets."""
    return _titled("Over all targets", findings.curves(network))


def effort(network: Network) -> Table:
    """Return the seconds of the processor that pruning took, beside those of the cheapest entry."""
    return _titled("Seconds of the processor in pruning, gradients included", findings.effort(network))


def across_tables(board: Board) -> list[Table]:
    """Return the entries across networks, and every two of them; nothing below six networks."""
    told = {"Mean ranks, and secondary figures": findings.standing(board), "Pair by pair": findings.pairs(board)}
    return [_titled(title, lines) for title, lines in told.items() if lines]


def _titled(title: str, lines: Sequence[tuple[str, ...]]) -> Table:
    head, *rows = lines or [("entry",)]
    return Table(title, head, tuple(rows))


def passes(network: Network) -> Table:
    """Return the forward and backward passes of each phase, which mean the same on every machine."""
    heads = ("target", "entry", *(f"{phase}, forward / backward" for phase in PHASES))
    rows = [(row.target_label, row.label, *(_passes(row, phase) for phase in PHASES)) for row in network.rows]
    return Table("Passes of each phase", heads, tuple(rows))


def _passes(row: Row, phase: str) -> str:
    cost = row.mean_cost[phase]
    return f"{figures.quantity(cost['forward'])} / {figures.quantity(cost['backward'])}"


def seconds(network: Network) -> list[Table]:
    """Return the seconds of each phase, one table a machine: times of two machines are not compared."""
    heads = ("target", "entry", *(f"{phase} s" for phase in PHASES))
    return [Table(f"Seconds of each phase on: {m}", heads, tuple(_seconds(network, m))) for m in network.machines]


def _seconds(network: Network, machine: str) -> list[tuple[str, ...]]:
    held = [(row, row.mean_seconds[machine]) for row in network.rows if machine in row.mean_seconds]
    return [(row.target_label, row.label, *(_time(spent[phase]) for phase in PHASES)) for row, spent in held]


def _time(seconds: float | None) -> str:
    return figures.GAP if seconds is None else figures.fixed(seconds, 3 if seconds < 1 else 1)


def further(network: Network, board: Board) -> Table:
    """Return what was kept of all parameters, and the further columns of counters and metrics."""
    suite = board.suite
    names = [name for name in board.columns if name != f"{suite.counter}.{suite.headlines.get(suite.counter)}"]
    heads = ("target", "entry", "parameters kept", *names)
    return Table("Further columns", heads, tuple(_further(row, names) for row in network.rows))


def _further(row: Row, names: Sequence[str]) -> tuple[str, ...]:
    further = (figures.quantity(row.mean_columns.get(name)) for name in names)
    return (row.target_label, row.label, figures.amount(row.parameters_kept), *further)


def published(network: Network) -> Table:
    """Return what others published on a network, beside our rows of the same entry at the same target."""
    heads = ("target", "entry", "published %", "s.e.", "ours %", "source")
    order = sorted(network.published, key=lambda figure: target_order(figure.target))
    return Table("Published figures", heads, tuple(_beside(figure, network.rows) for figure in order))


def _beside(figure: Published, rows: Sequence[Row]) -> tuple[str, ...]:
    ours = [row for row in rows if row.detail.partition("[")[0] == figure.entry and row.target == figure.target]
    told = [f"{row.label}: {figures.accuracy(row)}" if len(ours) > 1 else figures.accuracy(row) for row in ours]
    printed = (figures.fixed(figure.value), figures.fixed(figure.error))
    return target_text(figure.target), figure.entry, *printed, "; ".join(told) or figures.GAP, figure.source


def notes(network: Network) -> list[str]:
    """Return what a reader of the published figures must know, each note once."""
    return list(dict.fromkeys(f"{figure.source}: {figure.note}" for figure in network.published if figure.note))


def gains(network: Network) -> Table:
    """Return what each row gains over its twins; no row where there are none."""
    head, *rows = figures.gains(network.rows) or [("target", "entry")]
    return Table("Gain over twins, in points", head, tuple(rows))


def checklists(board: Board) -> Table:
    """Return how many items of the checklist each entry meets, and which it does not."""
    rows = ((c.entry, c.badge, "; ".join(i.name for i in c.items if i.met is False)) for c in board.checklists)
    return Table("Checklist", ("entry", "met", "not met"), tuple(rows))


def checklist_items(board: Board) -> Table:
    """Return each item of the checklist for each entry, with what decides it."""
    words = {True: "met", False: "not met", None: "does not apply"}
    rows = ((c.entry, item.name, words[item.met], item.told) for c in board.checklists for item in c.items)
    return Table("What decides each item", ("entry", "item", "is", "what decides"), tuple(rows))


def details(network: Network, board: Board) -> list[Table]:
    """Return the tables that stand behind the main one."""
    tables = (verdicts(network), further(network, board), passes(network), *seconds(network))
    return [table for table in tables if table.rows]


def by_target(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Group rows by target, in the order of their first row; the control's group has an empty name."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault("" if row.control else row.target_label, []).append(row)
    return list(groups.items())


def spans(text: str) -> list[tuple[str, bool]]:
    """Split a sentence at its `code` spans: each part, and whether it is code. Odd backticks are left as they are."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return [(text, False)]
    return [(part, i % 2 == 1) for i, part in enumerate(parts) if part or i % 2 == 0]
