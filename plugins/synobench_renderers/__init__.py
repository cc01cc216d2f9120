"""The files of a board: Markdown for GitHub, tidy CSV, a picture, and a page that stands alone."""

from __future__ import annotations

from collections.abc import Iterator

from synobench.entries import RendererEntry
from synobench.hookspecs import hookimpl

_OWN = "none: a layout of the bench's own"


@hookimpl
def synobench_renderers() -> Iterator[RendererEntry]:
    """Register the files of this plugin."""
    yield RendererEntry(
        "markdown",
        summary="tables for GitHub, with the picture",
        file="README.md",
        citation=_OWN,
        run="synobench_renderers.markdown:markdown",
    )
    yield RendererEntry(
        "csv",
        summary="one row an entry, data set, network and target, over seeds",
        file="board.csv",
        citation=_OWN,
        run="synobench_renderers.tables:board_csv",
    )
    yield RendererEntry(
        "runs",
        summary="one row a record",
        file="runs.csv",
        citation=_OWN,
        run="synobench_renderers.tables:runs_csv",
    )
    yield RendererEntry(
        "svg",
        summary="accuracy against SynOps, with intervals, a panel a network",
        file="accuracy-synops.svg",
        citation=_OWN,
        run="synobench_renderers.picture:accuracy_synops",
    )
    yield RendererEntry(
        "latex",
        summary="tables for a paper, one a network",
        file="board.tex",
        citation=_OWN,
        run="synobench_renderers.latex:board_tex",
    )
    yield RendererEntry(
        "html",
        summary="one page that needs no network and no JavaScript",
        file="index.html",
        committed=False,
        citation=_OWN,
        run="synobench_renderers.page:page",
    )
