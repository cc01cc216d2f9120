"""The pictures of a board, as SVG and as PDF: what each of them shows."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from synobench.board import Board, Network
from synobench.board.rows import Row
from synobench.board.versus import UNPRUNED
from synobench.protocol import RULE
from synobench.stats import Estimate
from synobench_renderers import ranks, scales, traces
from synobench_renderers.panels import MOST, PRINT, Kind, able, picture
from synobench_renderers.scales import Scale
from synobench_renderers.sheet import Sheet
from synobench_renderers.styles import Styles, styles

_BYTES = "latin-1"
"""How bytes are kept as text."""

SYNOPS, SPARSITY, PARETO, COST = "accuracy-synops", "accuracy-sparsity", "pareto", "cost"


def _pruning(row: Row, network: Network) -> Estimate | None:
    """Return the seconds of the prune phase where all runs of a network shared one machine, else its forward passes."""
    if len(network.machines) == 1:
        return row.seconds.get(network.machines[0], {}).get("prune")
    return row.cost["prune"]["forward"]


def _pruning_scale(values: Sequence[float], network: Network) -> Scale:
    return scales.seconds(values) if len(network.machines) == 1 else scales.passes(values)


def _pruning_label(network: Network, _: Board) -> str:
    what = "seconds of pruning" if len(network.machines) == 1 else "passes of pruning"
    return f"{what}, at {_middle(network)}"


def _middle(network: Network) -> str:
    """Return the target at which entries are compared by cost: of those that most entries reach, the middle one."""
    entries: dict[str, set[str]] = {}
    for row in network.rows:
        if row.runs and not row.control:
            entries.setdefault(row.target_label, set()).add(row.label)
    most = max(map(len, entries.values()), default=0)
    shared = [target for target, held in entries.items() if len(held) == most]
    return shared[len(shared) // 2] if shared else ""


def _at_middle(network: Network) -> list[Row]:
    middle = _middle(network)
    return [row for row in network.rows if row.target_label == middle]


def _synops_label(_: Network, board: Board) -> str:
    return f"SynOps a sample ({board.suite.counter})"


_SYNOPS = Kind(
    "Accuracy against SynOps",
    lambda row, _: row.synops,
    lambda values, _: scales.amounts(values),
    _synops_label,
    empty="No run has a SynOps figure.",
)
KINDS = {
    SYNOPS: _SYNOPS,
    SPARSITY: Kind(
        "Accuracy against sparsity",
        lambda row, _: row.sparsity,
        lambda *_: scales.sparsities(),
        lambda *_: "sparsity %",
        empty="No run has been recorded.",
    ),
    PARETO: Kind(
        "The Pareto front of accuracy and SynOps",
        _SYNOPS.figure,
        _SYNOPS.scale,
        _synops_label,
        joined=False,
        front=True,
        empty=_SYNOPS.empty,
        note="; small: another has more accuracy for fewer SynOps",
    ),
    COST: Kind(
        "Accuracy against the cost of pruning",
        _pruning,
        _pruning_scale,
        _pruning_label,
        joined=False,
        control=False,
        empty="No run tells what pruning cost.",
        rows=_at_middle,
    ),
}
"""File name without its ending -> what the picture shows."""


def _unpruned(network: Network) -> list[Row]:
    return [row for row in network.rows if row.unpruned]


def _training(row: Row, network: Network) -> Estimate | None:
    """Return the seconds of the train phase where all runs of a network shared one machine, else its forward passes."""
    if len(network.machines) == 1:
        return row.seconds.get(network.machines[0], {}).get("train")
    return row.cost["train"]["forward"]


OF_RULES = {
    COST: dataclasses.replace(
        KINDS[COST],
        title="Accuracy against the cost of training",
        figure=_training,
        label=lambda network, _: f"{'seconds' if len(network.machines) == 1 else 'passes'} of training, {UNPRUNED}",
        empty="No run tells what training cost.",
        rows=_unpruned,
    )
}
"""What takes the place of some of `KINDS` where a board's entries are training rules."""


def _kind(name: str, board: Board) -> Kind:
    return OF_RULES.get(name, KINDS[name]) if board.suite.versus == RULE else KINDS[name]


def _svg(name: str, board: Board) -> str:
    kind = _kind(name, board)
    return _kept(f"{name}.svg", board, kind, lambda looks: picture(board, kind, looks).svg())


def _pdf(name: str, board: Board) -> bytes:
    kind = _kind(name, board)

    def made(looks: Styles) -> str:
        return picture(board, kind, looks, panel=PRINT).pdf().decode(_BYTES)

    return _kept(f"{name}.pdf", board, kind, made).encode(_BYTES)


def _kept(name: str, board: Board, kind: Kind, make: Callable[[Styles], str]) -> str:
    """Return a picture, or the one that was kept of the same networks."""
    looks, held = styles(board.networks), able(kind, board.networks)
    shown = {row.label: looks.get(row.label) for network in held[:MOST] for row in network.rows}
    return board.once(f"renderers.{name}", held[:MOST], lambda: make(looks), len(held), sorted(shown.items()))


def _trace_svg(name: str, board: Board) -> str | None:
    sheet = traces.of_board(board, name)
    return sheet.svg() if sheet else None


def _trace_pdf(name: str, board: Board) -> bytes | None:
    sheet = traces.of_board(board, name)
    return sheet.pdf() if sheet else None


def ranks_svg(board: Board) -> str | None:
    """Return the critical-difference diagram as SVG; None where no test across blocks was made."""
    return _ranks("ranks.svg", board, lambda sheet: sheet.svg())


def ranks_pdf(board: Board) -> bytes | None:
    """Return the same as PDF."""
    made = _ranks("ranks.pdf", board, lambda sheet: sheet.pdf().decode(_BYTES))
    return None if made is None else made.encode(_BYTES)


def _ranks(name: str, board: Board, make: Callable[[Sheet], str]) -> str | None:
    found, looks = board.across, styles(board.networks)
    if found is None:
        return None
    told = (found.ranks, found.cliques, found.says())
    return board.once(f"renderers.{name}", [], lambda: make(ranks.diagram(*told, looks)), told, sorted(looks.items()))


synops_svg, sparsity_svg, pareto_svg, cost_svg = (functools.partial(_svg, name) for name in KINDS)
synops_pdf, sparsity_pdf, pareto_pdf, cost_pdf = (functools.partial(_pdf, name) for name in KINDS)
updates_svg, energy_svg, cosine_svg = (functools.partial(_trace_svg, name) for name in traces.KINDS)
updates_pdf, energy_pdf, cosine_pdf = (functools.partial(_trace_pdf, name) for name in traces.KINDS)
