"""The columns of the page's main table: what each says of a row, and in which words it is explained."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup, escape

from synobench.board import Board, Network, figures, findings
from synobench.board.figures import GAP, plain
from synobench.board.rows import Row
from synobench.board.runs import PHASES, Run
from synobench.protocol import RULE
from synobench.twins import KINDS

RECORDS = "../../leaderboards/records"
"""Where a page finds the records: the site folder lies beside `leaderboards`."""

Cell = Callable[[Row, Network], str]


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        head: its name.
        about: what it says, in words.
        cell: its text in a row, or Markup.
        words: whether it holds words rather than figures.
        shown: whether it is shown until a reader chooses otherwise.
    """

    head: str
    about: str
    cell: Cell
    words: bool = False
    shown: bool = True


def columns(board: Board) -> list[Column]:
    """Return the columns of a board; a figure that no row of it has gets none."""
    family = families(row.detail for network in board.networks for row in network.rows)
    told = [_accuracy(), *_verdicts(board), *_gains(board), *_sizes(board)]
    return [*_names(family, board.suite.versus), *told, *_rest(), *_further(board), *_costs(board)]


def families(details: Iterable[str]) -> dict[str, str]:
    """Return entry in full -> its family: the shortest other name on the board that its own begins with, else its own.

    ``chita++`` and ``chita`` are of the family ``chita``; a longer word that begins alike is a family of its own.
    """
    names = {detail: detail.partition("[")[0] for detail in details}
    known = sorted(set(names.values()), key=len)
    begins = {name: next((k for k in known if _begins(name, k)), name) for name in known}
    return {detail: begins[name] for detail, name in names.items()}


def _begins(name: str, short: str) -> bool:
    return name == short or (name.startswith(short) and not name[len(short)].isalnum())


def _names(family: Mapping[str, str], what: str) -> list[Column]:
    return [
        Column("#", "place by mean accuracy within a target", _place),
        Column("entry", f"the {what}", _entry, words=True),
        Column("family", f"{what}s of one name", lambda row, _: family[row.detail], words=True, shown=False),
        Column("target", "what was asked of it", lambda row, _: row.target_label, words=True),
    ]


def _place(row: Row, _: Network) -> str:
    return "" if row.control else str(row.rank or GAP)


def _entry(row: Row, _: Network) -> str:
    """Return the label, which may break before its parameters and behind each of them."""
    text = str(escape(clean(row.label)))
    return Markup(text.replace("[", "<wbr>[").replace(",", ",<wbr>"))


def _accuracy() -> Column:
    about = "test accuracy, mean ± 95 % interval over seeds"
    return Column("top-1 %", about, lambda row, _: figures.accuracy(row))


def _verdicts(board: Board) -> list[Column]:
    told = any(row.verdict for network in board.networks for row in network.rows)
    about, rules = "against the reference entry at the same target", board.suite.versus == RULE
    dense = "the dense network of its rule" if rules else "the dense control"
    return [
        *([Column("verdict", about, _verdict, words=True)] if told else []),
        *([Column("to reference", "difference to it, in points", findings.to_reference)] if rules else []),
        Column("to dense", f"difference to {dense}, in points", _to_dense),
    ]


def _verdict(row: Row, network: Network) -> str:
    reference = (row.reference or network.reference == row.label) and row.runs and not row.verdict
    return "reference" if reference and not row.control else findings.verdict(row.verdict)


def _to_dense(row: Row, _: Network) -> str:
    return GAP if row.control else figures.percent(row.difference, sign=True)


def _gains(board: Board) -> list[Column]:
    held = {kind for network in board.networks for row in network.rows for kind in row.twins}
    about = "gain over {} pruning at its own layer-wise sparsities, in points"
    return [Column(f"over {k} twin", about.format(k), _gain(k), words=True) for k in KINDS if k in held]


def _gain(kind: str) -> Cell:
    return lambda row, _: figures.gain(row.twins.get(kind))


def _sizes(board: Board) -> list[Column]:
    counter = f"by the counter {board.suite.counter}"
    return [
        Column("sparsity %", "prunable weights removed", lambda row, _: figures.sparsity(row.sparsity)),
        Column("SynOps", f"operations a sample {counter}", lambda row, _: figures.amount(row.synops)),
        Column("ratio", "SynOps over the dense control's", lambda row, _: figures.ratio(row.synops_ratio)),
    ]


def _rest() -> list[Column]:
    return [
        Column("seeds", "runs behind the row", lambda row, _: figures.count(row)),
        Column("remarks", "best group, few seeds, missed target", _remarks, words=True),
        Column("records", "each seed's record", _records, words=True, shown=False),
    ]


def _remarks(row: Row, _: Network) -> str:
    return "dense control" if row.control else ", ".join(figures.remarks(row))


def _records(row: Row, _: Network) -> str:
    """Link each seed to its record."""
    return Markup(" ".join(f'<a href="{_address(run)}">{run.seed}</a>' for run in row.runs))


def _address(run: Run) -> str:
    key = run.key if run.key.isascii() and run.key.isalnum() else quote(run.key)
    return f"{_folder(str(run.inputs['suite']['name']))}/{quote(run.key[:2]) if '%' in key else key[:2]}/{key}.json"


@functools.cache
def _folder(suite: str) -> str:
    return f"{RECORDS}/{quote(suite)}"


def _further(board: Board) -> list[Column]:
    suite = board.suite
    names = [name for name in board.columns if name != f"{suite.counter}.{suite.headlines.get(suite.counter)}"]
    kept = Column(
        "parameters kept", "of all parameters", lambda row, _: figures.amount(row.parameters_kept), shown=False
    )
    return [kept, *(_column(name) for name in names)]


def _column(name: str) -> Column:
    about = "a sample" if "." in name else ""
    return Column(plain(name), about, lambda row, _: figures.quantity(row.mean_columns.get(name)), shown=False)


def _costs(board: Board) -> list[Column]:
    made = [Column(f"{p} passes", f"forward / backward passes: {p}", _passes(p), shown=False) for p in PHASES]
    if (
        all(len(row.mean_seconds) < 2 for network in board.networks for row in network.rows)
        and len(board.machines) == 1
    ):
        made += [Column(f"{p} s", f"seconds: {p}", _seconds(p), shown=False) for p in PHASES]
    return made


def _passes(phase: str) -> Cell:
    def cell(row: Row, _: Network) -> str:
        return " / ".join(figures.quantity(row.mean_cost[phase][way]) for way in ("forward", "backward"))

    return cell


def _seconds(phase: str) -> Cell:
    def cell(row: Row, _: Network) -> str:
        return _time(next(iter(row.mean_seconds.values()))[phase]) if row.mean_seconds else GAP

    return cell


def _time(seconds: float | None) -> str:
    return GAP if seconds is None else figures.fixed(seconds, 3 if seconds < 1 else 1)


def written(heads: Sequence[Column], row: Row, network: Network) -> list[str]:
    """Return the cells of a row as HTML."""
    texts = [column.cell(row, network) for column in heads]
    # All that is plain is escaped at once: clean text is on one line.
    plainly = iter(str(escape("\n".join([clean(t) for t in texts if not isinstance(t, Markup)]))).split("\n"))
    return [text if isinstance(text, Markup) else next(plainly) for text in texts]


def clean(text: str) -> str:
    """Return text on one line without control characters; nearly all text is, and costs nothing here."""
    return text if text.isprintable() else plain(text)
