"""A report as text for a terminal, as Markdown, as LaTeX (booktabs) and as JSON."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence

from synobench.board.figures import plain
from synobench.board.latex import escape as latex_escape
from synobench.board.latex import sentence as latex_sentence
from synobench.compare.report import Report, Section

WIDTH = 100
"""The columns of a terminal; a wide table may go beyond, for nothing of it is cut."""

_SPECIAL = re.compile(r"([\\`*_\[\]#|~])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def text(report: Report) -> str:
    """Return a report for a terminal."""
    lines = [*_wrapped(report.title), ""]
    for told in report.sentences:
        lines += _wrapped(told)
    for section in report.sections:
        lines += ["", *_wrapped(section.title), *_aligned(section)]
    lines += [""] if report.notes else []
    for told in report.notes:
        lines += _wrapped(told)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def markdown(report: Report) -> str:
    """Return a report as GitHub reads it."""
    lines = [f"## {_escaped(report.title)}", "", *(f"- {_escaped(told)}" for told in report.sentences)]
    for section in report.sections:
        sides = (":--" if head in section.words else "--:" for head in section.heads)
        told = (section.heads, *section.rows)
        head, *rows = (f"| {' | '.join(map(_escaped, cells))} |" for cells in told)
        lines += ["", f"**{_escaped(section.title)}**", "", head, f"| {' | '.join(sides)} |", *rows]
    lines += ["", *(f"- {_escaped(told)}" for told in report.notes)] if report.notes else []
    return "\n".join(lines) + "\n"


def latex(report: Report) -> str:
    """Return a report as a paragraph and floats of booktabs."""
    told = f"{report.title}. {' '.join((*report.sentences, *report.notes))}"
    lines = [r"% Needs \usepackage{booktabs}.", latex_sentence(told)]
    for section in report.sections:
        lines += ["", *_float(section)]
    return "\n".join(lines) + "\n"


def plain_data(report: Report) -> str:
    """Return a report as JSON."""
    return json.dumps(report.facts, indent=1, sort_keys=True, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Report], str]] = {"text": text, "markdown": markdown, "latex": latex, "json": plain_data}
"""Each format by name."""


def write(report: Report, name: str) -> str:
    """Return a report in the format of a name."""
    return FORMATS[name](report)


def _aligned(section: Section) -> Iterator[str]:
    kept = [i for i, head in enumerate(section.heads) if head not in section.aside]
    table = [[plain(cells[i]) for i in kept] for cells in (section.heads, *section.rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    sides = [str.ljust if section.heads[i] in section.words else str.rjust for i in kept]
    head, *rows = ("  ".join(s(c, w) for s, c, w in zip(sides, cells, widths, strict=True)) for cells in table)
    yield from (head, "-" * (sum(widths) + 2 * (len(widths) - 1)), *rows)


def _wrapped(told: str) -> list[str]:
    return textwrap.wrap(plain(told), WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _escaped(told: str) -> str:
    return _SPECIAL.sub(r"\\\1", "".join(_ENTITIES.get(c, c) for c in plain(told)))


def _float(section: Section) -> Iterator[str]:
    yield from (r"\begin{table}[tp]", r"\centering\footnotesize", rf"\caption{{{latex_sentence(section.title)}.}}")
    sides = "".join("l" if head in section.words else "r" for head in section.heads)
    yield from (rf"\begin{{tabular}}{{@{{}}{sides}@{{}}}}", r"\toprule", _row(section.heads), r"\midrule")
    yield from map(_row, section.rows)
    yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}")


def _row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(map(latex_escape, cells))} \\"
