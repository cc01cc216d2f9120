"""A board as LaTeX: one float a network, entries down, targets across, bold for the best group.

The figures stand in blocks: accuracy, SynOps over the dense control's, what was reached, gains over twins, and what
others published.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from synobench.board import Board, Network, labels, prose, sources
from synobench.board.figures import amount, fixed, plain
from synobench.board.latex import escape, sentence
from synobench.board.publish import slug
from synobench.board.rows import FEW, FEWEST, Row
from synobench.board.versus import UNPRUNED
from synobench.protocol import RULE, Published
from synobench.stats import Estimate
from synobench.twins import KINDS

ACROSS = 4
"""Targets side by side; what is beyond them stands in further columns below."""

GAP = "--"
MARKS = {
    "few": (r"\dag", f"fewer than {FEW} seeds"),
    "unranked": (r"\ddag", f"fewer than {FEWEST} seeds, not ranked"),
    "incomplete": (r"\circ", "planned seeds are missing"),
    "deterministic": (r"\S", "deterministic: every seed gave the same hits"),
    "missed": (r"\ast", "the target was missed"),
}
"""What is to be said of a figure beside it: its sign, and what the sign means."""


Targets = Mapping[str, Mapping[str, Any]]
"""Label -> target, of the columns of one table."""

_KEY = re.compile(r"[A-Za-z0-9:+._-]+")


def board_tex(board: Board) -> str:
    """Return the board's ``board.tex``."""
    return "\n".join(_lines(board)) + "\n"


def number(estimate: Estimate | None, *, scale: float = 1.0, digits: int = 2, sign: bool = False) -> str:
    """Return a mean with the half-width of its interval, in math mode."""
    if estimate is None:
        return GAP
    half = "" if estimate.half is None else rf" \pm {fixed(scale * estimate.half, digits)}"
    return f"${_mean(estimate, scale, digits, sign=sign)}{half}$"


def marks(row: Row) -> list[str]:
    """Return the names of the `MARKS` that a row bears."""
    few = row.few and not row.control
    held = {
        "few": few and row.enough,
        "unranked": few and not row.enough,
        "incomplete": bool(row.missing and row.runs),
        "deterministic": row.deterministic,
        "missed": bool(row.missed),
    }
    return [name for name, true in held.items() if true]


def _lines(board: Board) -> Iterator[str]:
    name = _comment(f"{board.suite.name} {board.suite.version}")
    yield f"% {name}: generated from records by `{_comment(prose.command(board))}`; edits are overwritten."
    yield r"% Needs \usepackage{booktabs} and \usepackage{array}."
    if not board.runs:
        yield "% No run has been recorded."
    for network in board.networks:
        if any(row.runs for row in network.rows):
            yield from ("", board.once("renderers.latex", [network], functools.partial(_told, network, board)))


def _told(network: Network, board: Board) -> str:
    return "\n".join(_floats(network, board))


def _floats(network: Network, board: Board) -> Iterator[str]:
    aims = {row.target_label: row.target for row in network.rows if not row.control}
    aims |= {labels.target_text(f.target): f.target for f in network.published if f.target["name"] != "none"}
    order = sorted(aims.items(), key=lambda aim: labels.target_order(aim[1]))
    label = f"tab:{slug(board.suite.name)}-{slug(network.label)}"
    width = math.ceil(len(order) / math.ceil(len(order) / ACROSS)) if order else 1
    for start in range(0, max(1, len(order)), width):
        first = not start
        caption = _caption(network, board) if first else rf"Table~\ref{{{label}}}, continued: {escape(network.label)}."
        yield from (r"\begin{table}[tp]", r"\centering\footnotesize", r"\setlength{\tabcolsep}{4pt}")
        yield from (rf"\caption{{{caption}}}", *([rf"\label{{{label}}}"] if first else []), r"\smallskip")
        yield from _tabular(network, dict(order[start : start + width]))
        yield from (*_signs(network), r"\end{table}")


def _signs(network: Network) -> Iterator[str]:
    found = [(sign, told) for name, (sign, told) in MARKS.items() if any(name in marks(row) for row in network.rows)]
    if found:
        yield rf"\par\smallskip\raggedright {'; '.join(rf'$^{{{sign}}}$ {told}' for sign, told in found)}."


def _caption(network: Network, board: Board) -> str:
    suite, counts = board.suite, sorted({len(row.runs) for row in network.rows if row.runs})
    several = f"{counts[0]} to " if len(counts) > 1 else ""
    seeds = f"{several}{counts[-1]} seed{'s' if counts[-1] > 1 else ''}"
    images = f" on {network.images:,} test images" if network.images else ""
    parts = [
        f"{network.dataset} with {network.model}: top-1 accuracy in per cent{images}, mean over {seeds} ± half-width "
        "of the Student-t 95 % interval.",
    ]
    if any(row.best for row in network.rows):
        parts.append("Bold: the entries that a test paired by seed does not tell from the first of their column.")
    if any(row.synops for row in network.rows):
        definition = suite.definitions.get(suite.counter, "")
        parts.append(f"SynOps a sample by the counter `{suite.counter}`{': ' if definition else ''}{definition}.")
    here = board.of(network)
    return sentence(" ".join([*parts, f"Suite {suite.name} {suite.version}, {sources.made_at(here)}."]))


def _tabular(network: Network, targets: Targets) -> Iterator[str]:
    columns = max(1, len(targets))
    yield rf"\begin{{tabular}}{{@{{}}>{{\raggedright\arraybackslash}}p{{0.3\linewidth}}{'r' * columns}@{{}}}}"
    yield r"\toprule"
    yield from _heads(targets)
    for heading, lines in _blocks(network, targets):
        if lines:
            yield from (r"\midrule", rf"\multicolumn{{{columns + 1}}}{{@{{}}l}}{{\emph{{{heading}}}}} \\", *lines)
    yield from (r"\bottomrule", r"\end{tabular}")


def _heads(targets: Targets) -> Iterator[str]:
    """Yield the kinds of targets, each above its values."""
    place, kinds, rules = 2, [], []
    for kind, group in itertools.groupby(targets.values(), _kind):
        width = len(list(group))
        kinds.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(kind)}}}")
        rules.append(rf"\cmidrule(l){{{place}-{place + width - 1}}}")
        place += width
    if kinds:
        yield rf"& {' & '.join(kinds)} \\"
        yield "".join(rules)
        yield rf"Entry & {' & '.join(escape(_value(target)) for target in targets.values())} \\"


def _kind(target: Mapping[str, Any]) -> str:
    told = _value(target)
    return labels.target_text(target).replace(f" {told}", "", 1) if told else UNPRUNED


def _value(target: Mapping[str, Any]) -> str:
    return f"{100 * target['value']:.6g} %" if target.get("value") is not None else ""


def _blocks(network: Network, targets: Targets) -> Iterator[tuple[str, list[str]]]:
    """Yield the kinds of figures, each with its heading and its lines."""
    yield r"Top-1, \%", [*_dense(network, max(1, len(targets))), *_grid(network, targets, _accuracy)]
    base = next((row.synops for row in network.rows if row.control), None)
    told = f" ({escape(amount(base))})" if base else ""
    ratios = _grid(network, targets, lambda row: number(row.synops_ratio, digits=3))
    whose = "dense network of its own rule" if network.versus == RULE else "dense control's"
    yield f"SynOps, over the {whose}{told}", ratios
    if any(row.target["name"] != "sparsity" for row in network.rows if not row.control):
        yield r"Sparsity reached, \%", _grid(network, targets, lambda row: number(row.sparsity, scale=100))
    for kind in KINDS:
        yield f"Gain over its {kind} twin, points", _grid(network, targets, functools.partial(_gain, kind))
    yield r"Published by others ($\pm$ standard error), top-1 \%, not ranked", _published(network, targets)


def _dense(network: Network, columns: int) -> Iterator[str]:
    for row in network.rows:
        if row.control and row.runs:
            name = escape("dense control" + (f" ({row.setting})" if row.setting else ""), breaks=True)
            yield rf"{name} & \multicolumn{{{columns}}}{{c@{{}}}}{{{_accuracy(row)}}} \\"


def _grid(network: Network, targets: Targets, cell: Callable[[Row], str]) -> list[str]:
    """Return a line an entry that has any figure, by the alphabet."""
    places = {(row.label, row.target_label): cell(row) for row in network.rows if not row.control}
    names = sorted({name for (name, target), told in places.items() if target in targets and told != GAP})
    return [_line(escape(name, breaks=True), [places.get((name, target), GAP) for target in targets]) for name in names]


def _published(network: Network, targets: Targets) -> list[str]:
    held = {(f.entry, f.source, labels.target_text(f.target)): _printed(f) for f in network.published}
    names = sorted({(entry, source) for entry, source, target in held if target in targets})
    lines = []
    for entry, source in names:
        cited = rf"\cite{{{source}}}" if _KEY.fullmatch(source) else f"({escape(source)})"
        cells = [held.get((entry, source, target), GAP) for target in targets]
        lines.append(_line(f"{escape(entry, breaks=True)} {cited}", cells))
    return lines


def _printed(figure: Published) -> str:
    error = "" if figure.error is None else rf" \pm {fixed(figure.error)}"
    return f"${fixed(figure.value)}{error}$"


def _line(name: str, cells: Sequence[str]) -> str:
    return rf"{name} & {' & '.join(cells)} \\"


def _gain(kind: str, row: Row) -> str:
    twin = row.twins.get(kind)
    if twin is None:
        return GAP
    return "same" if twin.same else number(twin.gain, scale=100, sign=True)


def _accuracy(row: Row) -> str:
    if row.accuracy is None:
        return GAP
    mean = _mean(row.accuracy, 100.0, 2)
    half = "" if row.deterministic or row.accuracy.half is None else rf" \pm {fixed(100 * row.accuracy.half)}"
    signs = "".join(MARKS[name][0] for name in marks(row))
    bold = rf"\mathbf{{{mean}}}" if row.best else mean
    return f"${bold}{half}{f'^{{{signs}}}' if signs else ''}$"


def _mean(estimate: Estimate, scale: float, digits: int, *, sign: bool = False) -> str:
    return fixed(scale * estimate.mean, digits, sign=sign).replace("\N{MINUS SIGN}", "-")


def _comment(text: str) -> str:
    """Return text for a comment: on one line, and of characters that every encoding knows."""
    return plain(text).encode("ascii", "backslashreplace").decode()
