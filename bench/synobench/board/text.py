"""A board on a terminal: plain aligned text within a hundred columns."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import partial

from synobench.board import figures, findings, prose
from synobench.board.across import SHARES
from synobench.board.build import Board, Network
from synobench.board.rows import Row
from synobench.protocol import PRUNER, RULE

_HEADS = {
    PRUNER: ("#", "entry", "top-1 %", "n", "to dense", "verdict", "sparsity", "SynOps", "ratio", ""),
    RULE: ("#", "entry", "top-1 %", "n", "to reference", "verdict", "sparsity", "SynOps", "ratio", ""),
}
_LEFT = {1, 5, 9}
_ENTRY = 1


def board_text(board: Board, width: int = 100, more: Sequence[str] = ()) -> str:
    """Return the board as text of at most `width` columns, ending in a line feed.

    Args:
        board: the board.
        width: of a line.
        more: counters whose headline figures stand in a table of their own.
    """
    suite = board.suite
    lines = [figures.plain(f"{suite.name} {suite.version}: {suite.question}"), ""]
    for network in board.networks:
        columns = {name: f"{name}.{suite.headlines[name]}" for name in more}
        told = board.once("bench.text", [network], partial(_told, network, width, columns), width, columns)
        lines += told.split("\n")
    if not board.networks:
        lines += ["No run, and none planned.", ""]
    lines += _across(board, width)
    lines += _listed("Checklist of Blalock et al. 2020, items met:", prose.badges(board))
    lines += _listed("Failed:", prose.failures(board))
    lines += _listed("Left out:", board.notes)
    notes = f"* best group   f few seeds   ! target missed   d deterministic   {figures.GAP} not measured"
    lines += _verdicts(board)
    lines += [notes, f"SynOps: operations a sample, counter {suite.counter}. Intervals: Student-t, 95 %, over seeds."]
    return "\n".join(line.rstrip() for text in lines for line in _wrapped(text, width)) + "\n"


def _told(network: Network, width: int, columns: Mapping[str, str]) -> str:
    lines = [*_network(network, width), ""]
    if table := findings.curves(network):
        lines += ["Over all targets", *_table(table, width, entry=0), ""]
    if table := figures.gains(network.rows):
        lines += ["Gain over twins, in points", *_table(table, width), ""]
    return "\n".join([*lines, *([*_further(network, columns, width), ""] if columns else [])])


def _network(network: Network, width: int) -> Iterator[str]:
    yield figures.plain(network.label)
    blocks: list[tuple[str, list[Row]]] = [("", [row for row in network.rows if row.control])]
    entries = [row for row in network.rows if not row.control]
    blocks += [(label, list(rows)) for label, rows in itertools.groupby(entries, key=lambda row: row.target_label)]
    head = _HEADS[network.versus]
    cells = [(label, [_cells(row, network) for row in rows]) for label, rows in blocks]
    widths = _widths([head, *(line for _, lines in cells for line in lines)], width)
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    yield from (_line(head, widths), rule)
    for label, lines in cells:
        if label:
            yield figures.plain(label)
        yield from (_line(line, widths) for line in lines)
    yield rule
    yield from prose.power(network)
    yield from _listed("Missing:", prose.missing(network))
    yield from _listed("Note:", network.caveats)


def _across(board: Board, width: int) -> list[str]:
    lines = _listed("Across networks:", prose.across(board))
    if table := findings.standing(board):
        lines += ["", *_table([cells[: -len(SHARES)] for cells in table], width, entry=0), ""]
    return lines


def _verdicts(board: Board) -> list[str]:
    names = sorted({network.reference for network in board.networks if network.reference})
    if not names:
        return []
    return [
        f"verdict: against {figures.plain(' or '.join(names))} at the same target, by Holm; same: within half a point; "
        "open: the seeds that would settle it."
    ]


def _further(network: Network, columns: Mapping[str, str], width: int) -> Iterator[str]:
    table = [("target", "entry", *columns)]
    for row in network.rows:
        told = (figures.quantity(row.mean_columns.get(column)) for column in columns.values())
        table.append((row.target_label, row.label, *told))
    yield from _table(table, width)


def _table(table: Sequence[Sequence[str]], width: int, entry: int = _ENTRY) -> Iterator[str]:
    table = [[figures.plain(cell) for cell in cells] for cells in table]
    widths = _widths(table, width, entry)
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    head, *lines = (_line(cells, widths, {0, entry}) for cells in table)
    yield from (head, rule, *lines)


def _cells(row: Row, network: Network) -> tuple[str, ...]:
    marks = ((row.best, "*"), (row.few, "f"), (bool(row.missed), "!"), (row.deterministic, "d"))
    accuracy = figures.accuracy(row).removesuffix(" deterministic")
    gap = figures.GAP if row.control else figures.percent(row.difference, sign=True)
    gap = findings.to_reference(row, network) if network.versus == RULE else gap
    synops, ratio = figures.amount(row.synops), figures.ratio(row.synops_ratio)
    place = "" if row.control else str(row.rank or figures.GAP)
    verdict = findings.verdict(row.verdict, short=True)
    told = (place, figures.plain(row.label), accuracy, figures.count(row), gap, verdict, figures.sparsity(row.sparsity))
    return (*told, synops, ratio, "".join(mark for held, mark in marks if held))


def _widths(table: Sequence[Sequence[str]], width: int, entry: int = _ENTRY) -> list[int]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    over = sum(widths) + 2 * (len(widths) - 1) - width
    if over > 0:
        widths[entry] = max(8, widths[entry] - over)
    return widths


def _line(cells: Sequence[str], widths: Sequence[int], left: Container[int] = _LEFT) -> str:
    fitted = (text if len(text) <= w else text[: w - 1] + "…" for text, w in zip(cells, widths, strict=True))
    sides = (str.ljust if i in left else str.rjust for i in range(len(widths)))
    return "  ".join(side(text, w) for side, text, w in zip(sides, fitted, widths, strict=True))


def _listed(title: str, items: Iterable[str]) -> list[str]:
    held = [figures.plain(item) for item in items]
    return [title, *(f"  {item}" for item in held)] if held else []


def _wrapped(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    indent = " " * (len(text) - len(text.lstrip()) + 2)
    return textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False)
