"""A board as one HTML page: readable without JavaScript, in light and dark, with no request to any network."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from synobench.board import Board, Network, prose
from synobench.board.figures import plain
from synobench.board.rows import Row
from synobench_renderers.cells import LEFT, SCORES, Table, by_target, details, score_cells, spans
from synobench_renderers.picture import COLOURS, FAINT, INK, PAPER, panels

_THEME = {INK: "currentColor", FAINT: "var(--rule)", PAPER: "var(--ground)"} | {
    colour: f"var(--s{i})" for i, colour in enumerate(COLOURS)
}
_REFERENCE = re.compile(r"""(\bid="|href="#|url\(#)""")


def page(board: Board) -> str:
    """Return the board's ``index.html``."""
    lists = (
        ("Failures", prose.failures(board)),
        ("Left out", list(board.notes)),
        ("How to read it", prose.reading(board)),
        ("Entries in full", [f"{label}: {full}" for label, full in prose.entries(board)]),
        ("Machines", prose.machines(board)),
    )
    told = _template().render(
        suite=board.suite,
        css=Markup(_file("page.css")),
        panels=[inline(svg, i, label) for i, (label, svg) in enumerate(panels(board))],
        networks=[_network(network, board) for network in board.networks],
        heads=SCORES,
        words=LEFT,
        lists=[(title, [sentence(item) for item in items]) for title, items in lists],
        command=prose.command(board),
    )
    return told.rstrip("\n") + "\n"


def sentence(text: str) -> Markup:
    """Escape a sentence, its `code` spans set as code."""
    held = (
        Markup("<code>{}</code>").format(part) if code else Markup.escape(part) for part, code in spans(plain(text))
    )
    return Markup("").join(held)


def inline(svg: str, place: int, label: str) -> Markup:
    """Return an SVG file as an element of a page: in the page's colours, with ids of its own, named for all readers."""
    body = _REFERENCE.sub(rf"\g<1>p{place}-", svg[svg.index("<svg ") :])
    for colour, themed in _THEME.items():
        body = body.replace(colour, themed)
    name = Markup.escape(f"Top-1 accuracy against SynOps on {plain(label)}")
    return Markup(body.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1))


def _network(network: Network, board: Board) -> dict[str, Any]:
    return {
        "label": plain(network.label),
        "detail": plain(network.detail) if network.detail != network.model else "",
        "above": [(name, _scored(rows)) for name, rows in by_target(network.above)],
        "below": [(name, _scored(rows)) for name, rows in by_target(network.below)],
        "power": list(map(sentence, prose.power(network))),
        "missing": [plain(item) for item in prose.missing(network)],
        "caveats": list(map(sentence, network.caveats)),
        "details": [_grouped(table) for table in details(network, board)],
    }


def _scored(rows: list[Row]) -> list[tuple[bool, list[str]]]:
    return [(bool(row.best), [plain(cell) for cell in score_cells(row)]) for row in rows]


def _grouped(table: Table) -> dict[str, Any]:
    """Turn the target's column into headings of groups."""
    groups: dict[str, list[tuple[bool, list[str]]]] = {}
    for target, *cells in table.rows:
        groups.setdefault(plain(target), []).append((False, [plain(cell) for cell in cells]))
    return {"title": plain(table.title), "heads": table.heads[1:], "groups": list(groups.items())}


def _file(name: str) -> str:
    return resources.files("synobench_renderers").joinpath(name).read_text(encoding="utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(_file("page.html.jinja"))
