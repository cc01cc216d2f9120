"""A board as one HTML page: readable without JavaScript, in light and dark, with no request to any network."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources

import jinja2
from markupsafe import Markup

from synobench.board import Board, Network, prose
from synobench.board.figures import plain
from synobench.board.labels import target_order
from synobench.board.rows import Row
from synobench.board.sources import made_at
from synobench_renderers.page.blocks import parts, section, sentence
from synobench_renderers.page.chart import shapes
from synobench_renderers.page.columns import Column, columns, families
from synobench_renderers.styles import Style, styles

SCRIPT, SECTION = "page.js", "section.html.jinja"
MANY = 400
"""The rows from which a browser lays out a network only when it comes into view."""


def page(board: Board) -> str:
    """Return the board's ``index.html``."""
    rows = [row for network in board.networks for row in network.rows]
    places, looks, heads = {id(row): i for i, row in enumerate(rows)}, styles(board.networks), columns(board)
    css, script = file("page.css") + _rules(heads), Markup(file(SCRIPT))
    told = template("page.html.jinja").render(
        suite=board.suite,
        policy=policy(css, script),
        facts=json.dumps(facts(board), sort_keys=True),
        css=Markup(css),
        script=script,
        source=plain(made_at(board)),
        columns=heads,
        choices=_choices(board.networks, rows),
        shapes=shapes(),
        sections=[_section(i, board, heads, looks, places) for i in range(len(board.networks))],
        reading=list(map(sentence, prose.reading(board))),
        many=len(rows) > MANY,
        parts=parts(board),
        definitions=[(plain(name), sentence(text)) for name, text in sorted(board.suite.definitions.items())],
        command=prose.command(board),
    )
    return told.rstrip("\n") + "\n"


def _section(
    i: int, board: Board, heads: Sequence[Column], looks: Mapping[str, Style], places: Mapping[int, int]
) -> dict[str, str]:
    """Return the label and the markup of a network's section."""
    network = board.networks[i]

    def made() -> str:
        told = section(network, board, heads, looks, places)
        return template(SECTION).render(section=told, place=i + 1).rstrip("\n")

    rows = [(places[id(row)], looks.get(row.label), heads[2].cell(row, network)) for row in network.rows]
    named = [(column.head, column.about, column.shown) for column in heads]
    told = board.once("renderers.page", [network], made, i, rows, named, file(SECTION))
    return {"label": plain(network.label), "told": Markup(told)}


def facts(board: Board) -> dict[str, object]:
    """Return what the index of suites tells of a board, as plain data."""
    suite = board.suite
    entries = {row.detail for network in board.networks for row in network.rows if not row.control}
    return {
        "suite": plain(suite.name),
        "version": plain(suite.version),
        "question": plain(suite.question),
        "runs": len(board.runs) + len(board.twins),
        "networks": [plain(network.label) for network in board.networks],
        "entries": len(entries),
    }


def policy(css: str, script: str) -> str:
    """Return a Content-Security-Policy that lets a page run and wear what is in it, and reach for nothing."""
    held = {"script-src": script, "style-src": css}
    sources = [f"{name} 'sha256-{_digest(text)}'" if text else f"{name} 'none'" for name, text in held.items()]
    return "; ".join(["default-src 'none'", *sources, "img-src data:", "base-uri 'none'", "form-action 'none'"])


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _rules(heads: Sequence[Column]) -> str:
    """Return the styles of the main table's columns by their places: what hides one, and where words stand."""
    made = []
    for i, column in enumerate(heads, 1):
        if column.words:
            made.append(f".board tr>:nth-child({i}){{text-align:left}}")
        if column.head == "top-1 %":
            made.append(f".best>:nth-child({i}){{color:var(--best);font-weight:650}}")
        if column.head != "entry":
            made.append(f"body:has(#c{i}:not(:checked)) .board tr>:nth-child({i}){{display:none}}")
    return "\n".join(made) + "\n"


def _choices(networks: Sequence[Network], rows: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Return what the page can be filtered by, and the values of each."""
    aimed = {row.target_label: row.target for row in rows if not row.control}
    held = families(row.detail for row in rows)
    return [
        ("family", sorted({held[row.detail] for row in rows if not row.control})),
        ("data", list(dict.fromkeys(plain(network.dataset) for network in networks))),
        ("network", sorted({plain(network.model) for network in networks})),
        ("target", sorted(aimed, key=lambda label: target_order(aimed[label]))),
    ]


def file(name: str) -> str:
    """Return a file of this package as text."""
    return resources.files("synobench_renderers.page").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def template(name: str) -> jinja2.Template:
    """Return a template of this package; it escapes whatever is not markup."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    return environment.from_string(file(name))
