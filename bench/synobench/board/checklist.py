"""The checklist of Blalock et al. ("What is the state of neural network pruning?", MLSys 2020), graded for each entry.

Each item is met, not met, or does not apply; one figure decides, and it is told. All of it comes out of the records of
a board, so no author can tick a box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from synobench.board.rows import FEWEST, Row
from synobench.board.runs import Run
from synobench.twins import KINDS, allocation_of

if TYPE_CHECKING:
    from synobench.board.build import Network

POINTS = 5
"""Operating points that are asked for."""

PAIRS = 3
"""Pairs of data set and network that are asked for."""

CLASSES = 10
"""Up to so many classes top-1 says enough."""

FALL = 0.01
"""Accuracy falls where the dense control's is so much higher: one point."""


@dataclass(frozen=True)
class Item:
    """One item of the checklist.

    Args:
        name: of the item, as in `ITEMS`.
        met: whether it is met; None where it does not apply.
        told: the figure that decides, in one line.
    """

    name: str
    met: bool | None
    told: str


@dataclass(frozen=True)
class Checklist:
    """The items of one entry, over all networks of a board."""

    entry: str
    items: tuple[Item, ...]

    @property
    def badge(self) -> str:
        """How many items are met of those that apply: ``9 of 11``."""
        return f"{sum(item.met is True for item in self.items)} of {sum(item.met is not None for item in self.items)}"


@dataclass(frozen=True)
class Place:
    """What an entry has on one network: its rows, and `others` that it is compared with, controls and baselines."""

    network: Network
    rows: tuple[Row, ...]
    others: tuple[Row, ...]

    @property
    def ran(self) -> tuple[Row, ...]:
        """Its rows that have a run."""
        return tuple(row for row in self.rows if row.runs)

    @property
    def runs(self) -> list[Run]:
        """Its own runs."""
        return [run for row in self.rows for run in row.runs]

    @property
    def compared(self) -> list[Run]:
        """Its runs, its twins', the controls' and the global baselines'."""
        return [run for row in (*self.rows, *self.others) for run in row.behind]


T = TypeVar("T")
Verdict = tuple[bool | None, str]
Places = Sequence[Place]


def grade(networks: Iterable[Network]) -> tuple[Checklist, ...]:
    """Grade each entry but the control, sorted by name; rows of several settings count together."""
    places: dict[str, list[Place]] = {}
    for network in networks:
        others = tuple(row for row in network.rows if row.control or _baseline(row))
        entries: dict[str, list[Row]] = {}
        for row in network.rows:
            if not row.control:
                entries.setdefault(row.entry, []).append(row)
        for entry, rows in entries.items():
            places.setdefault(entry, []).append(Place(network, tuple(rows), others))
    return tuple(Checklist(entry, tuple(_items(found))) for entry, found in sorted(places.items()) if _any(found))


def _any(places: Places) -> bool:
    return any(place.runs for place in places)


def _items(places: Places) -> Iterator[Item]:
    ran = [place for place in places if place.runs]
    for name, check in ITEMS.items():
        yield Item(name, *check(places if name in _PLANNED else ran))


def _both(places: Places) -> Verdict:
    rows = [row for place in places for row in place.ran]
    lacking = sum(row.parameters_kept is None or row.synops_ratio is None for row in rows)
    if lacking:
        return False, f"{lacking} of {len(rows)} points lack one of the two"
    size = max(run.parameters / max(1, run.parameters_kept) for place in places for run in place.runs)
    ratio = min(row.synops_ratio.mean for row in rows if row.synops_ratio)
    fewer = f"{1 / ratio:.3g} times" if ratio else "all"
    return True, f"parameters up to {size:.3g} times fewer, SynOps up to {fewer} fewer"


def _points(places: Places) -> Verdict:
    least, where = min((len({row.target_label for row in place.ran}), place.network.label) for place in places)
    return least >= POINTS, f"{least} on {where}{', the fewest' if len(places) > 1 else ''}"


def _pairs(places: Places) -> Verdict:
    joined = [run.joined for place in places for run in place.runs[:1]]
    known = [one for one in joined if one is not None]
    modern = f"{sum(known)} with skip connections" if known else "whether one has skip connections is not told"
    return len(places) >= PAIRS and (not known or any(known)), f"{_counted(len(places), 'pair')}, {modern}"


def _spread(places: Places) -> Verdict:
    rows = [row for place in places for row in place.ran]
    least = min(len(row.runs) for row in rows)
    alone = sum(not row.enough for row in rows)
    told = f"{_counted(least, 'seed')}{', the fewest' if len(rows) > 1 else ''}"
    return not alone, told + (f"; {alone} of {len(rows)} points under {FEWEST}" if alone else "")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _control(places: Places) -> Verdict:
    lacking = [place.network.label for place in places if not _controlled(place)]
    there = f"at every seed on {_counted(len(places), 'network')}"
    return not lacking, f"lacks seeds on {', '.join(lacking)}" if lacking else there


def _controlled(place: Place) -> bool:
    seeds = {run.seed for row in place.others if row.control for run in row.runs}
    return {run.seed for run in place.runs} <= seeds


def _same(places: Places) -> Verdict:
    runs = list({run.key: run for place in places for run in place.compared}.values())
    # Runs hold equal parts once.
    codes, counts = _distinct([run.code for run in runs])
    libraries, _ = _distinct([run.libraries for run in runs])
    commits = sorted({str(code["commit"])[:7] for code in codes.values() if code.get("commit")})
    unknown = sum(counts[place] for place, code in codes.items() if not code.get("commit"))
    dirty = sum(counts[place] for place, code in codes.items() if code.get("dirty"))
    versions = {pair for held in libraries.values() for pair in held.items()}
    apart = sorted(name for name, count in Counter(name for name, _ in versions).items() if count > 1)
    told = [f"{len(commits)} commits: {', '.join(commits)}"] if len(commits) > 1 else []
    told += [f"no commit told by {unknown} of {len(runs)} runs"] if unknown else []
    told += [f"{dirty} of {len(runs)} runs with uncommitted changes"] if dirty else []
    told += [f"versions differ: {', '.join(apart)}"] if apart else []
    return not told, "; ".join(told) or f"{_counted(len(runs), 'run')} at commit {commits[0]}"


def _distinct(things: Sequence[T]) -> tuple[dict[int, T], Counter[int]]:
    """Return things by their identity, and how often each is there."""
    marks = list(map(id, things))
    return dict(zip(marks, things, strict=True)), Counter(marks)


def _fives(places: Places) -> Verdict:
    many = [run for place in places for run in place.runs if (run.outputs or 0) > CLASSES]
    if not many:
        most = max((run.outputs or 0 for place in places for run in place.runs), default=0)
        return None, f"{most} classes at most" if most else "the number of classes is not told"
    lacking = sum(run.top5 is None for run in many)
    return not lacking, f"top-5 of {len(many) - lacking} of {len(many)} runs"


def _baselines(places: Places) -> Verdict:
    lacking: dict[str, int] = {}
    rows = [(place, row) for place in places for row in place.ran]
    for place, row in rows:
        for name in _absent(place, row):
            lacking[name] = lacking.get(name, 0) + 1
    told = [f"no {name} at {count} of {len(rows)} points" for name, count in lacking.items()]
    return not told, "; ".join(told) or f"both, global and as twins, at {_counted(len(rows), 'point')}"


def _absent(place: Place, row: Row) -> Iterator[str]:
    beside = (other for other in place.others if (other.target, other.setting) == (row.target, row.setting))
    there = {_baseline(other) for other in beside}
    yield from (f"global {kind}" for kind in KINDS if kind not in there)
    if row.target["name"] == "sparsity":
        yield from (f"{kind} twin" for kind in KINDS if kind not in row.twins or row.twins[kind].missing)


def _baseline(row: Row) -> str:
    """Return the kind of a row of global magnitude or random pruning that was run, else nothing."""
    if not row.runs:
        return ""
    pruner = row.runs[0].inputs["pruner"]
    scope = (pruner.get("params") or {}).get("scope", "global")
    return str(pruner["name"]) if pruner["name"] in KINDS and scope == "global" and not allocation_of(pruner) else ""


def _raw(places: Places) -> Verdict:
    rows = [row for place in places for row in place.rows]
    lacking = sum(row.accuracy is None for row in rows)
    there = f"top-1 at {_counted(len(rows), 'point')}"
    return not lacking, f"{lacking} of {len(rows)} points have no run" if lacking else there


def _falls(places: Places) -> Verdict:
    falls = [(max((-gap for gap in _gaps(place)), default=None), place.network.label) for place in places]
    unknown = [label for fall, label in falls if fall is None]
    if unknown:
        return False, f"no difference to a dense control on {', '.join(unknown)}"
    least, where = min((fall, label) for fall, label in falls if fall is not None)
    return least > FALL, f"by {100 * least:.2f} points on {where}{', the least' if len(places) > 1 else ''}"


def _gaps(place: Place) -> Iterator[float]:
    return (row.difference.mean for row in place.ran if row.difference)


def _sample(places: Places) -> Verdict:
    rows = [row for place in places for row in place.ran]
    images = min(place.network.images or 0 for place in places)
    least = _counted(min(len(row.runs) for row in rows), "seed")
    finest = max((place.network.smallest for place in places if place.network.smallest is not None), default=None)
    seen = "" if finest is None else f": {100 * finest:.2f} points could be seen"
    return not any(row.few for row in rows), f"{least} and {_counted(images, 'test image')} at least{seen}"


ITEMS: dict[str, Callable[[Places], Verdict]] = {
    "compression and speed-up": _both,
    "operating points": _points,
    "data sets and networks": _pairs,
    "mean and deviation": _spread,
    "dense control": _control,
    "same data and code": _same,
    "top-5": _fives,
    "baselines": _baselines,
    "raw accuracy": _raw,
    "where accuracy falls": _falls,
    "sample size": _sample,
}
"""Name -> what decides, in the order in which they are shown."""

_PLANNED = {"raw accuracy"}
"""What looks at planned points without a run too."""
