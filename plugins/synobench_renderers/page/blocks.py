"""The parts of the page that are made row by row: the main table, plain tables, and what a network's section holds."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from synobench.board import Board, Network, prose
from synobench.board.figures import plain
from synobench.board.rows import Row
from synobench.stats import Estimate
from synobench_renderers import cells, scales
from synobench_renderers.cells import LEFT, Table
from synobench_renderers.measured import PICTURES, pictures
from synobench_renderers.page.chart import Axes, chart, legend
from synobench_renderers.page.columns import Column, written
from synobench_renderers.styles import Style


@dataclass(frozen=True)
class Section:
    """What stands on the page of one network, ready to be set: markup, or plain text that is still to be escaped."""

    network: Network
    label: str
    detail: str
    charts: Sequence[Markup]
    legend: Markup
    above: Markup
    below: Markup | None
    power: Sequence[Markup]
    missing: Sequence[str]
    caveats: Sequence[Markup]
    published: Markup | None
    notes: Sequence[str]
    over: Markup | None
    folds: Sequence[tuple[str, Sequence[Markup]]]


@dataclass(frozen=True)
class Part:
    """What stands on the page of the board as a whole: sentences, tables, and tables that open on demand."""

    title: str
    told: Sequence[Markup] = ()
    tables: Sequence[Markup] = ()
    summary: str = ""
    more: Sequence[Markup] = ()
    pictures: Sequence[Markup] = ()


def parts(board: Board) -> list[Part]:
    """Return the parts of a board that have something to say."""
    lists = [
        ("Failures", prose.failures(board)),
        ("Left out", board.notes),
        ("Entries in full", [f"{label}: {full}" for label, full in prose.entries(board)]),
        ("Machines", prose.machines(board)),
    ]
    told = (Part(title, list(map(sentence, items))) for title, items in lists if items)
    return [*_traced(board), *_across(board), *_checklists(board), *told]


def _traced(board: Board) -> Iterator[Part]:
    """Yield the pictures of what was measured in training: whole drawings, so that the page needs no other file."""
    if shown := pictures(board):
        yield Part("In training", pictures=[_drawing(board, name) for name in shown])


def _drawing(board: Board, name: str) -> Markup:
    # Only boards of rules draw here: matplotlib is not loaded for any other page.
    from synobench_renderers import picture

    svg: str = getattr(picture, f"{name}_svg")(board)
    data = base64.b64encode(svg.encode()).decode()
    title = f"{PICTURES[name].title}, at the first and the last measured update of each network"
    return Markup('<img class="drawing" alt="{}" src="data:image/svg+xml;base64,{}">').format(title, data)


def _across(board: Board) -> Iterator[Part]:
    told, tables = prose.across(board), cells.across_tables(board)
    if told or tables:
        yield Part("Across networks", list(map(sentence, told)), list(map(table, tables)))


def _checklists(board: Board) -> Iterator[Part]:
    if board.checklists:
        more = [table(cells.checklist_items(board))]
        yield Part("Checklist", [sentence(prose.CHECKLIST)], [table(cells.checklists(board))], "Item by item", more)


def section(
    network: Network, board: Board, heads: Sequence[Column], looks: Mapping[str, Style], places: Mapping[int, int]
) -> Section:
    """Return the section of a network.

    Args:
        network: its rows.
        board: of which it is a part.
        heads: the columns of the main table.
        looks: label -> how an entry looks.
        places: identity of a row -> its number on the page.
    """
    label = plain(network.label)
    told = Table("", (), ()) if not network.published else cells.published(network)
    below = main_table(f"Not ranked: {label}", network, network.below, heads, places) if network.below else None
    return Section(
        network=network,
        label=label,
        detail=plain(network.detail) if network.detail != network.model else "",
        charts=[chart(network, axes, looks, places) for axes in _axes(network, board)],
        legend=legend(network, looks),
        above=main_table(f"Top-1 accuracy on the test split: {label}", network, network.above, heads, places),
        below=below,
        power=list(map(sentence, prose.power(network))),
        missing=[plain(item) for item in prose.missing(network)],
        caveats=list(map(sentence, network.caveats)),
        published=table(told, label) if told.rows else None,
        notes=[plain(note) for note in cells.notes(network)],
        over=table(curves, label) if (curves := cells.curves(network)).rows else None,
        folds=[(summary, [table(held, label) for held in tables]) for summary, tables in _folds(network) if tables],
    )


def sentence(text: str) -> Markup:
    """Escape a sentence, its `code` spans set as code."""
    held = (Markup("<code>{}</code>").format(part) if code else escape(part) for part, code in cells.spans(plain(text)))
    return Markup("").join(held)


def main_table(
    caption: str, network: Network, rows: Sequence[Row], heads: Sequence[Column], places: Mapping[int, int]
) -> Markup:
    """Return a table whose rows can be sorted and filtered: one body, a rule above each new target."""
    body, before = [], None
    for row in rows:
        body.append(_row(row, network, heads, places[id(row)], new=before not in (None, row.target_label)))
        before = row.target_label
    names = Markup("").join(Markup('<th scope="col">{}</th>').format(column.head) for column in heads)
    return _framed("board", caption, names, Markup("\n".join(body)))


def _row(row: Row, network: Network, heads: Sequence[Column], place: int, *, new: bool) -> str:
    kinds = [name for name, held in (("best", row.best), ("control", row.control), ("new", new)) if held]
    marked = f' class="{" ".join(kinds)}"' if kinds else ""
    told = "".join(
        [
            f'<th scope="row">{text}</th>' if column.head == "entry" else f"<td>{text}</td>"
            for column, text in zip(heads, written(heads, row, network), strict=True)
        ]
    )
    return f'<tr id="r{place}"{marked}>{told}</tr>'


def table(held: Table, about: str = "") -> Markup:
    """Return a plain table; its columns of words stand left."""
    sides = [' class="words"' if head in LEFT else "" for head in held.heads]
    names = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(Markup(side), plain(head))
        for side, head in zip(sides, held.heads, strict=True)
    )
    named = held.heads.index("entry") if "entry" in held.heads else 0
    body = "\n".join(_cells(row, sides, named) for row in held.rows)
    caption = plain(f"{held.title}: {about}" if about else held.title)
    return _framed("plain", caption, names, Markup(body))


def _cells(row: Iterable[str], sides: Sequence[str], named: int) -> str:
    told = (
        f'<th scope="row"{side}>{escape(plain(text))}</th>' if i == named else f"<td{side}>{escape(plain(text))}</td>"
        for i, (text, side) in enumerate(zip(row, sides, strict=True))
    )
    return f"<tr>{''.join(told)}</tr>"


def _framed(kind: str, caption: str, names: Markup, body: Markup) -> Markup:
    """Set a table in a frame that scrolls, by the keyboard too."""
    return Markup(
        '<div class="scroll" role="region" tabindex="0" aria-label="{1}">\n<table class="{0}">\n'
        "<caption><span>{1}</span></caption>\n"
        "<thead><tr>{2}</tr></thead>\n<tbody>\n{3}\n</tbody>\n</table>\n</div>"
    ).format(kind, caption, names, body)


def _folds(network: Network) -> Iterator[tuple[str, list[Table]]]:
    """Return the tables that open on demand, by what is said of them."""
    yield "Comparisons in full", [held for held in [cells.verdicts(network)] if held.rows]
    # Seconds of several machines must not stand in one column.
    yield "Seconds, machine by machine", cells.seconds(network) if len(network.machines) > 1 else []
    yield "Seconds of the processor in pruning", [told] if (told := cells.effort(network)).rows else []


def _axes(network: Network, board: Board) -> list[Axes]:
    """Return the charts of a network: those in which an entry has a point."""
    rows = [row for row in network.rows if row.accuracy]
    if not any(not row.control for row in rows):
        return []
    synops = [row.synops.mean for row in rows if row.synops]
    made = []
    if synops:
        made.append(_chart("SynOps", f"SynOps a sample ({board.suite.counter})", rows, network, scales.amounts(synops)))
    made.append(_chart("sparsity", "sparsity %", rows, network, scales.sparsities()))
    return made


def _chart(name: str, label: str, rows: Sequence[Row], network: Network, across: scales.Scale) -> Axes:
    figure = _synops if name == "SynOps" else _sparsity
    held = [row.accuracy.mean for row in rows if row.accuracy and figure(row)]
    return Axes(f"Accuracy against {name}", label, figure, across, scales.accuracies(held, network.images))


def _synops(row: Row) -> Estimate | None:
    return row.synops


def _sparsity(row: Row) -> Estimate | None:
    return row.sparsity
