"""A board in Markdown as GitHub reads it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence

from synobench.board import Board, Network, prose
from synobench.board.figures import plain
from synobench.board.rows import Row
from synobench_renderers.cells import (
    LEFT,
    Table,
    across_tables,
    by_target,
    checklist_items,
    checklists,
    curves,
    details,
    effort,
    gains,
    notes,
    published,
    score_cells,
    scores,
    spans,
)
from synobench_renderers.measured import PICTURES, pictures

PICTURE = "accuracy-synops.svg"
_WHOLE = 20
_SPECIAL = re.compile(r"([\\`*_\[\]#|~])|^(?=[-+])|(?<=^\d)(?=[.)]\s)|(?<=^\d\d)(?=[.)]\s)")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def markdown(board: Board) -> str:
    """Return the board's ``README.md``."""
    return "\n".join(_lines(board)) + "\n"


@functools.lru_cache(maxsize=2**14)
def escape(text: str) -> str:
    """Return text that Markdown shows as it is, in a table or out of one."""
    return _spelled(plain(text))


def sentence(text: str) -> str:
    """Escape text but for its `code` spans."""
    return "".join(f"`{part}`" if code else _spelled(part) for part, code in spans(plain(text)))


def _spelled(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text.translate(_ENTITIES))


def _lines(board: Board) -> Iterator[str]:
    suite = board.suite
    yield from (f"# {escape(suite.name)} {escape(suite.version)}", "", escape(suite.question), "")
    yield from ("*Generated from records; edits are overwritten. The command at the end builds it again.*", "")
    if not board.runs:
        yield from ("No run has been recorded.", "")
    elif any(row.synops for network in board.networks for row in network.rows):
        yield from (f"![Top-1 accuracy against SynOps, one panel a network]({PICTURE})", "")
    yield from _traced(board)
    for network in board.networks:
        yield board.once("renderers.markdown", [network], functools.partial(_section_of, network, board))
    yield from _section("## Across networks", prose.across(board))
    for table in across_tables(board):
        yield from _titled(table)
    yield from _checklists(board)
    yield from _section("## Failures", prose.failures(board))
    yield from _section("## Left out", list(board.notes))
    yield from _section("## How to read it", prose.reading(board))
    yield from _section("## Entries in full", [f"{label}: {full}" for label, full in prose.entries(board)])
    yield from _section("## Machines", prose.machines(board))
    yield from ("## Build it again", "", "```console", f"$ {plain(prose.command(board))}", "```")


def _traced(board: Board) -> Iterator[str]:
    """Yield the pictures of what was measured in training, where the board has them."""
    for shown in (PICTURES[name] for name in pictures(board)):
        yield from (f"![{shown.title}, at the first and the last measured update]({shown.file}.svg)", "")


def _section_of(network: Network, board: Board) -> str:
    return "\n".join(_network(network, board))


def _network(network: Network, board: Board) -> Iterator[str]:
    yield from (f"## {escape(network.label)}", "")
    if network.detail != network.model:
        yield from (f"Model: {escape(network.detail)}", "")
    yield from _scores(network, network.above)
    if network.below:
        yield from ("**Below the line**: without seeds enough to be ranked.", "")
        yield from _scores(network, network.below)
    yield from _titled(curves(network))
    yield from _titled(effort(network))
    yield from _titled(gains(network))
    yield from _section("", prose.power(network))
    yield from _section("Missing:", prose.missing(network))
    yield from _section("Notes on the SynOps:", network.caveats)
    yield from _published(network)
    yield from ("<details><summary>Verdicts in full, cost and further columns</summary>", "")
    for table in details(network, board):
        yield from _titled(table)
    yield from ("</details>", "")


def _published(network: Network) -> Iterator[str]:
    if network.published:
        yield from ("### Published figures", "", "Top-1 as others printed it, beside ours; never ranked.", "")
        yield from (*_table(published(network)), "", *_section("", notes(network)))


def _titled(table: Table) -> Iterator[str]:
    if table.rows:
        yield from (f"**{escape(table.title)}**", "", *_table(table), "")


def _checklists(board: Board) -> Iterator[str]:
    if not board.checklists:
        return
    yield from ("## Checklist", "", escape(prose.CHECKLIST), "", *_table(checklists(board)), "")
    items = checklist_items(board)
    yield from (f"<details><summary>{escape(items.title)}</summary>", "", *_table(items), "", "</details>", "")


def _scores(network: Network, rows: Sequence[Row]) -> Iterator[str]:
    lines, heads = [], scores(network)
    for target, held in by_target(rows):
        names = [target, *[""] * (len(held) - 1)]
        lines += [_scored(name, row, network) for name, row in zip(names, held, strict=True)]
    yield from (*_laid(("target", *heads), lines), "")


def _scored(target: str, row: Row, network: Network) -> list[str]:
    cells = _escaped((target, *score_cells(row, network)))
    if row.best:
        place = 1 + scores(network).index("top-1 %")
        cells[place] = f"**{cells[place]}**"
    return cells


def _table(table: Table) -> list[str]:
    return _laid(table.heads, [_escaped(row) for row in table.rows])


def _escaped(cells: Sequence[str]) -> list[str]:
    """Escape cells, and keep each figure with its unit and interval on one line."""
    return [escape(cell) if len(cell) > _WHOLE else escape(cell).replace(" ", "\u00a0") for cell in cells]


def _laid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    sides = [":--" if head in LEFT else "--:" for head in heads]
    return [f"| {' | '.join(cells)} |" for cells in (list(map(escape, heads)), sides, *rows)]


def _section(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield from ((title, "") if title else ())
        yield from (*(f"- {sentence(item)}" for item in items), "")
