"""What the entries of a board are: pruners on one training, or the training rules themselves.

Among rules the unpruned network of each is an entry, judged against that of the reference rule. A pruner after a rule
makes an entry of both: its difference is to the unpruned network of its own rule, its verdict against the same pruner
after the reference rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synobench.board import labels
from synobench.board.curves import CurveSummary
from synobench.board.rows import CONTROL, Naming, Row, is_control
from synobench.protocol import RULE
from synobench.store import canonical

if TYPE_CHECKING:
    from synobench.board.build import Network, SuiteFacts

Inputs = Mapping[str, Any]

UNPRUNED = "unpruned"
"""The label of the target of a rule that no pruner acts after."""


def trained(inputs: Inputs) -> str:
    """Return what names a rule on its network, as text: a suite may call it by a title there."""
    return canonical([inputs[role] for role in ("dataset", "model", "rule")])


class Names:
    """Names the rows of a board: for all of it at once, so that an entry is called the same on every network.

    Args:
        suite: its facts.
        firsts: the inputs of a cell of each row.
    """

    def __init__(self, suite: SuiteFacts, firsts: Sequence[Inputs]) -> None:
        self._suite, self._rules = suite, suite.versus == RULE
        self._datasets, self._models, self._pruners, self._trainings = (
            labels.short_labels(inputs[role] for inputs in firsts) for role in ("dataset", "model", "pruner", "rule")
        )

    def network(self, place: Sequence[str]) -> tuple[str, str]:
        """Return what data set and model are called, of which `place` holds the canonical texts."""
        return self._datasets[place[0]], self._models[place[1]]

    def naming(self, inputs: Inputs, setting: str, told: str) -> Naming:
        """Return how a row is called.

        Args:
            inputs: of one of its cells.
            setting: what stands around its entry, as canonical text.
            told: the label of that.
        """
        target, pruner = inputs["target"], inputs["pruner"]
        label = labels.target_text(target)
        if not self._rules:
            detail, control, reference = labels.full_text(pruner), is_control(inputs), self._suite.reference
            known = reference is not None and detail == labels.full_text(reference)
            entry = self._pruners[canonical(pruner)]
            return Naming(entry, detail, told, target, label, control, known, control, setting, setting)
        name, place = self._titled(inputs), trained(inputs)
        after = "" if pruner["name"] == CONTROL else f" + {self._pruners[canonical(pruner)]}"
        full = [labels.full_text(inputs["rule"]), *([labels.full_text(pruner)] if after else [])]
        return Naming(
            entry=name + after,
            detail=" + ".join(full),
            setting=told,
            target=target,
            target_label=UNPRUNED if is_control(inputs) else label,
            control=False,
            reference=place in self._suite.references,
            unpruned=is_control(inputs),
            family=f"{setting} {place}",
            peers=f"{setting} {canonical(pruner)}",
        )

    def _titled(self, inputs: Inputs) -> str:
        return self._suite.titles.get(trained(inputs)) or self._trainings[canonical(inputs["rule"])]


def places(networks: Iterable[Network]) -> list[tuple[str, str, Mapping[str, CurveSummary]]]:
    """Return what entries are compared by across networks: areas over all targets; of rules, unpruned accuracy."""
    return [(n.label, n.dataset, _accuracies(n.rows) if n.versus == RULE else n.curves) for n in networks]


def _accuracies(rows: Sequence[Row]) -> dict[str, CurveSummary]:
    base = next((row.by_seed() for row in rows if row.unpruned and row.reference), {})
    return {row.label: _whole(row, base) for row in rows if row.unpruned and row.rank is not None}


def _whole(row: Row, base: Mapping[int, float]) -> CurveSummary:
    held = row.by_seed()
    return CurveSummary(
        entry=row.label,
        kind=UNPRUNED,
        targets=1,
        areas=held,
        shares={seed: value / base[seed] for seed, value in held.items() if base.get(seed)},
        area=row.accuracy,
        share=None,
        compression=None,
        synops=None,
        left_out=(),
    )
