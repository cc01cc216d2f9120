"""Two entries of one board: the first less the second, at every target of every network that both have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from synobench.board import Board, Network, figures, findings
from synobench.board.labels import full_text
from synobench.board.rows import Row, shared
from synobench.board.verdicts import pairing
from synobench.compare.report import (
    Facts,
    Report,
    Section,
    comparison_facts,
    estimate_facts,
    loss_facts,
    superiority_facts,
)
from synobench.errors import BenchError, nearest
from synobench.params import as_dict, parse_spec, resolve
from synobench.protocol import RULE
from synobench.registry import Registry
from synobench.stats.across import FEWEST_BLOCKS
from synobench.stats.intervals import Estimate, paired_ratio
from synobench.stats.multiple import Comparison
from synobench.stats.multiple import compare as judge
from synobench.stats.ranks import signed_rank
from synobench.stats.robust import Superiority, superiority

_WORDS = frozenset({"network", "target", "verdict"})


@dataclass(frozen=True)
class Pair:
    """The two entries at one target, with their comparison among all such pairs."""

    network: Network
    a: Row
    b: Row
    target: str
    verdict: Comparison
    superiority: Superiority | None
    synops: Estimate | None


@dataclass(frozen=True)
class Area:
    """The two entries over all targets of a network: their areas compared, among all networks."""

    network: Network
    a: str
    b: str
    verdict: Comparison


def find(text: str, board: Board, registry: Registry) -> str | None:
    """Return the full text of the entry on a board that a text means; None where it means none.

    It is an entry's label, its full text, or a spec whose parameters are resolved by its plugin.

    Raises:
        BenchError: it fits several entries of the board.
    """
    rows = [(network, row) for network in board.networks for row in network.rows if row.runs]
    full = {_identity(row, network) for network, row in rows}
    meant = {_identity(row, network) for network, row in rows if text in (row.entry, row.detail)}
    for held in (full & {text, _resolved(text, registry)}, meant):
        if held:
            return held.pop()
    begun = {_identity(row, network): row.entry for network, row in rows if row.detail.startswith(f"{text}[")}
    if len(begun) > 1:
        raise BenchError(f"{text!r} fits several entries: {', '.join(sorted(begun.values()))}")
    return next(iter(begun), None)


def entries_of(board: Board) -> list[str]:
    """Return the labels of the entries that have runs on a board."""
    return sorted({row.entry for network in board.networks for row in network.rows if row.runs})


def unknown(text: str, board: Board) -> BenchError:
    """Return the mistake of a text that is no entry of a board."""
    known = entries_of(board)
    return BenchError(f"{text!r} is no entry on the board of suite {board.suite.name}{nearest(text, known)}")


def compare_entries(a: str, b: str, board: Board) -> Report:
    """Compare two entries, given in full, as two of a board's.

    Raises:
        BenchError: they are the same.
    """
    names = [_label(text, board) for text in (a, b)]
    if a == b:
        raise BenchError(f"A and B are the same entry, {names[0]}: there is nothing to compare")
    pairs, areas = list(_pairs(a, b, board)), list(_areas(a, b, board))
    title = f"{names[0]} against {names[1]}, suite {board.suite.name} {board.suite.version}"
    told = [_counted(pairs, names), *_across(areas)] if pairs else [_nothing(names)]
    sections = (*_targets(pairs, names), *_curves(areas, names))
    return Report(
        title=title,
        sentences=tuple(told),
        sections=tuple(section for section in sections if section.rows),
        notes=_notes(pairs, names),
        facts=_facts(names, board, pairs, areas),
        shared=len(pairs),
    )


def _resolved(text: str, registry: Registry) -> str:
    try:
        name, overrides = parse_spec(text)
        params = as_dict(resolve(registry.get("pruner", name).params, overrides, f"pruner {name}"))
    except BenchError:
        return text
    return full_text({"name": name, "params": params})


def _identity(row: Row, network: Network) -> str:
    """Return what makes rows one entry: a pruner with all its parameters, or what a rule is called on every network."""
    return row.entry if network.versus == RULE else row.detail


def _label(entry: str, board: Board) -> str:
    return next(row.entry for network in board.networks for row in network.rows if _identity(row, network) == entry)


def _pairs(a: str, b: str, board: Board) -> Iterator[Pair]:
    """Yield the pairs of rows of one target and setting; a control stands at every target."""
    found = [(n, *rows) for n in board.networks for rows in _rows(a, b, n)]
    judged = judge({str(i): pairing(one, two) for i, (_, one, two) in enumerate(found)})
    for (network, one, two), verdict in zip(found, judged, strict=True):
        target = two.target_label if one.control else one.target_label
        ratio = paired_ratio(*_synops(one, two, board))
        yield Pair(network, one, two, target, verdict, superiority(*pairing(one, two)), ratio)


def _rows(a: str, b: str, network: Network) -> Iterator[tuple[Row, Row]]:
    """Yield the rows of one place, in the board's order: of the same setting and target, or against the control."""
    ones, twos = (_placed(detail, network) for detail in (a, b))
    for setting, target in dict.fromkeys([*ones, *twos]):
        one, two = (side.get((setting, target)) or side.get((setting, "")) for side in (ones, twos))
        if one and two and shared(one.runs, two.runs):
            yield one, two


def _placed(detail: str, network: Network) -> dict[tuple[str, str], Row]:
    """Return setting and target -> row of an entry; the control has no target, and stands against any."""
    rows = (row for row in network.rows if _identity(row, network) == detail and row.runs)
    return {(row.setting, "" if row.control else row.target_label): row for row in rows}


def _synops(one: Row, two: Row, board: Board) -> tuple[Mapping[int, float], Mapping[int, float]]:
    counter, headlines = board.suite.counter, board.suite.headlines
    sides = [
        {r.seed: r.counts.get(counter, {}).get(headlines.get(counter, "")) for r in row.runs} for row in (one, two)
    ]
    first, second = ({seed: value for seed, value in side.items() if value is not None} for side in sides)
    return first, second


def _areas(a: str, b: str, board: Board) -> Iterator[Area]:
    """Yield the networks on which both have areas, settings apart."""
    found = []
    for network in board.networks:
        labels = [{r.setting: r.label for r in network.rows if _identity(r, network) == entry} for entry in (a, b)]
        for setting in sorted(labels[0].keys() & labels[1].keys()):
            for kind in sorted({curve.kind for curve in network.curves.values()}):
                held = [_curve(network, side[setting], kind) for side in labels]
                if held[0] and held[1]:
                    found.append((network, held[0], held[1]))
    areas = {str(i): (n.curves[one].areas, n.curves[two].areas) for i, (n, one, two) in enumerate(found)}
    areas = {i: pair for i, pair in areas.items() if pair[0].keys() & pair[1].keys()}
    for verdict in judge(areas):
        yield Area(*found[int(verdict.name)], verdict)


def _curve(network: Network, label: str, kind: str) -> str:
    return next((name for name, curve in network.curves.items() if (curve.entry, curve.kind) == (label, kind)), "")


def _counted(pairs: Sequence[Pair], names: Sequence[str]) -> str:
    counts: dict[str, int] = {}
    for pair in pairs:
        counts[pair.verdict.verdict] = counts.get(pair.verdict.verdict, 0) + 1
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    return f"{names[0]} at {len(pairs)} target{'s' * (len(pairs) != 1)} of its networks: {told}."


def _nothing(names: Sequence[str]) -> str:
    return f"{names[0]} and {names[1]} share no seed at any target of any network: there is nothing to compare."


def _across(areas: Sequence[Area]) -> Iterator[str]:
    """Say what the mean areas tell across networks."""
    gaps = [area.verdict.difference.mean for area in areas if area.verdict.difference]
    if not gaps:
        return
    higher = f"Its mean area under accuracy is higher on {sum(gap > 0 for gap in gaps)} of {len(gaps)} networks"
    if len(gaps) < FEWEST_BLOCKS:
        yield f"{higher}; fewer than {FEWEST_BLOCKS} are no test."
    else:
        yield f"{higher}; exact signed-rank p = {findings.probability(signed_rank(gaps).p)}."


def _targets(pairs: Sequence[Pair], names: Sequence[str]) -> Iterator[Section]:
    """Yield the table of each network, and of each setting of it."""
    heads = ("target", "points", "p", "sign-flip p (floor)", "verdict", "P(A > B)", "SynOps")
    places = dict.fromkeys((pair.network.label, pair.a.setting) for pair in pairs)
    for label, setting in places:
        rows = [
            (p.target, *_tested(p.verdict), findings.chance(p.superiority), figures.ratio(p.synops))
            for p in pairs
            if (p.network.label, p.a.setting) == (label, setting)
        ]
        title = f"{label}{f' ({setting})' if setting else ''}: top-1 accuracy, {names[0]} less {names[1]}"
        yield Section(title, heads, tuple(rows), _WORDS, frozenset({"P(A > B)"}))


def _curves(areas: Sequence[Area], names: Sequence[str]) -> Iterator[Section]:
    """Yield what they reach over all targets, and within one point of loss."""
    rows, losses = [], []
    for area in areas:
        curves = [area.network.curves[name] for name in (area.a, area.b)]
        rows.append((area.network.label, *_tested(area.verdict)))
        synops = (findings.at_loss(curve.synops, most=True, digits=3) for curve in curves)
        losses.append((area.network.label, *(findings.at_loss(curve.compression) for curve in curves), *synops))
    heads = ("network", "points", "p", "sign-flip p (floor)", "verdict")
    yield Section(f"Area under accuracy over all targets, {names[0]} less {names[1]}", heads, tuple(rows), _WORDS)
    heads = ("network", "compression of A", "of B", "SynOps of A", "of B")
    yield Section("Within one point of loss", heads, tuple(losses), _WORDS)


def _tested(found: Comparison) -> tuple[str, ...]:
    gap = figures.percent(found.difference, sign=True)
    return gap, findings.probability(found.adjusted), findings.sign_flip(found.flip), found.says()


def _notes(pairs: Sequence[Pair], names: Sequence[str]) -> tuple[str, ...]:
    if not pairs:
        return ()
    return (
        f"A is {names[0]}, B is {names[1]}. Differences are paired by seed; their intervals stand at the level that "
        f"Holm's step-down gives each of the {len(pairs)} comparisons, and p is adjusted by it. The sign-flip p stands "
        "beside its floor and decides nothing. SynOps are those of A over those of B; within one point of loss, over "
        "the dense control's.",
    )


def _facts(names: Sequence[str], board: Board, pairs: Sequence[Pair], areas: Sequence[Area]) -> Facts:
    return {
        "kind": "entries",
        "a": names[0],
        "b": names[1],
        "suite": {"name": board.suite.name, "version": board.suite.version},
        "targets": [
            {
                **{"dataset": p.network.dataset, "model": p.network.model, "setting": p.a.setting, "target": p.target},
                "comparison": comparison_facts(p.verdict),
                "superiority": superiority_facts(p.superiority),
                "synops_ratio": estimate_facts(p.synops),
            }
            for p in pairs
        ],
        "curves": [
            {
                **{"dataset": area.network.dataset, "model": area.network.model},
                "comparison": comparison_facts(area.verdict),
                "compression": [loss_facts(area.network.curves[name].compression) for name in (area.a, area.b)],
                "synops": [loss_facts(area.network.curves[name].synops) for name in (area.a, area.b)],
            }
            for area in areas
        ],
    }
