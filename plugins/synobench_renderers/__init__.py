"""The files of a board: Markdown for GitHub, tidy CSV, LaTeX, pictures, and a page that stands alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from synobench.entries import RendererEntry
from synobench.hookspecs import hookimpl

_OWN = "none: a layout of the bench's own"
_PICTURES = {
    "synops": ("accuracy-synops", "accuracy against SynOps, with intervals, a panel a network"),
    "sparsity": ("accuracy-sparsity", "accuracy against sparsity, with intervals, a panel a network"),
    "pareto": ("pareto", "the Pareto front of accuracy and SynOps, a panel a network"),
    "cost": ("cost", "accuracy against the cost of pruning, or of training among rules, a panel a network"),
    "ranks": ("ranks", "the critical-difference diagram of mean ranks, from six networks on"),
    "updates": ("update-norm", "update norms by depth at the first and last measured update, among rules"),
    "energy": ("energy", "energy over inference at the first and last measured update, among rules"),
    "cosine": ("cosine", "cosine to backprop by depth at the first and last measured update, among rules"),
}
_CITED = {"ranks": "Demsar2006"}


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
        apart=True,
        citation=_OWN,
        run="synobench_renderers.tables:runs_csv",
    )
    yield RendererEntry(
        "latex",
        summary="tables for a paper, one a network",
        file="board.tex",
        citation=_OWN,
        run="synobench_renderers.latex:board_tex",
    )
    for name, (file, summary) in _PICTURES.items():
        for ending in ("svg", "pdf"):
            yield RendererEntry(
                ending if name == "synops" else f"{name}-{ending}",
                summary=f"{summary}, as {ending.upper()}",
                file=f"{file}.{ending}",
                committed=ending == "svg",
                apart=True,
                citation=_CITED.get(name, _OWN),
                run=f"synobench_renderers.picture:{name}_{ending}",
            )
    yield RendererEntry(
        "html",
        summary="one page that needs no network and no JavaScript",
        file="index.html",
        committed=False,
        citation=_OWN,
        run="synobench_renderers.page:page",
    )


@hookimpl
def synobench_pages_built(site: Path) -> None:
    """Write the index of the suites whose pages lie in the site folder."""
    from synobench_renderers.page.index import write_index

    write_index(site)
