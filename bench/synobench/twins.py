"""Twins: magnitude and random pruning at a pruner's own kept counts by tensor, planned once that host is judged.

What a host gains over its twins is due to which weights it keeps, not to how many it keeps where (Blalock et al. 2020
ask for both baselines at the method's layer-wise proportions). A twin is an ordinary cell: the host's inputs with the
pruner ``magnitude`` or ``random`` and the parameter ``allocation``, so hosts that keep the same counts share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from synobench.entries import PrunerEntry
from synobench.errors import BenchError
from synobench.params import as_dict, resolve
from synobench.registry import Registry
from synobench.store import Store, read_json
from synobench.suite import BEFORE, Cell, Skipped

KINDS = ("magnitude", "random")
"""The names of the pruners that make twins, as the registry knows them."""

ALLOCATION = "allocation"
"""Their parameter: the weights kept in each tensor, in the model's order."""

MARK = "/twin="
"""What stands in the label of a twin between its host's label and its own pruner."""


def allocation_of(pruner: Mapping[str, Any]) -> list[int]:
    """Return the allocation of a resolved pruner that makes twins; empty where it is no twin."""
    told = (pruner.get("params") or {}).get(ALLOCATION) if pruner.get("name") in KINDS else None
    return list(told) if isinstance(told, list | tuple) else []


def kept_counts(record: Mapping[str, Any]) -> list[int]:
    """Return how many weights a judged network keeps in each tensor, in the model's order.

    Raises:
        BenchError: the record does not say so.
    """
    try:
        return [int(layer["kept"]) for layer in record["outcome"]["sparsity"]["layers"]]
    except (KeyError, TypeError, ValueError):
        raise BenchError(f"record {record.get('key')} does not tell what each of its tensors keeps") from None


class Twins:
    """The twins of some cells, as far as their hosts are judged.

    Args:
        made: the cells of a suite; those whose network has twins switched on are looked at.
        registry: where the pruners of the hosts and of the twins are found by name.
        store: where the hosts' records lie.

    Attributes:
        skipped: what asks for twins and cannot have them, with the reason.
    """

    def __init__(self, made: Iterable[Cell], registry: Registry, store: Store) -> None:
        wanted = [cell for cell in made if cell.twins]
        refused: dict[str, str] = {}
        self._store, self._makers = store, _makers(registry, refused) if wanted else {}
        self._hosts = {cell.key for cell in wanted if _hosts(cell, registry, refused)}
        self.skipped = [Skipped(label, reason) for label, reason in refused.items()]

    def expected(self, host: Cell) -> int:
        """Return how many twins a cell has."""
        return len(self._makers) if host.key in self._hosts else 0

    def judged(self, host: Cell) -> bool:
        """Say whether a cell has twins that are known: it is judged."""
        return self.expected(host) > 0 and self.stored(host)

    def stored(self, cell: Cell) -> bool:
        """Say whether a cell, host or twin, has a record."""
        return self._store.has(cell.inputs["suite"]["name"], cell.key)

    def of(self, host: Cell) -> list[Cell]:
        """Return the twins of a cell; none before it is judged.

        Raises:
            BenchError: its record cannot be read, or does not tell what each tensor keeps.
        """
        if not self.judged(host):
            return []
        # Always the first result: a replay on another machine must not move the twins.
        counts = kept_counts(read_json(self._store.record_path(host.inputs["suite"]["name"], host.key)))
        return [_twin(host, entry, counts) for entry in self._makers.values()]


def _makers(registry: Registry, refused: dict[str, str]) -> dict[str, PrunerEntry]:
    found: dict[str, PrunerEntry] = {}
    for kind in KINDS:
        try:
            entry: PrunerEntry = registry.get("pruner", kind)
            resolve(entry.params, {ALLOCATION: (1,)}, f"pruner {kind}")
            found[kind] = entry
        except BenchError as error:
            refused[f"twins by {kind}"] = str(error)
    return found


def _hosts(cell: Cell, registry: Registry, refused: dict[str, str]) -> bool:
    """Say whether a cell can have twins; where it aims at a sparsity and cannot, note why."""
    pruner = cell.inputs["pruner"]
    if cell.inputs["target"]["name"] != "sparsity" or allocation_of(pruner):
        return False
    entry: PrunerEntry = registry.get("pruner", pruner["name"])
    reason = "it prunes channels, and twins prune weights" if entry.granularity != "weight" else ""
    if entry.when & BEFORE:
        reason = "it acts before or in training, and twins stand on a parent that no pruner had a hand in"
    if reason:
        refused[f"twins of {cell.network}/{pruner['name']}"] = reason
    return not reason


def _twin(host: Cell, entry: PrunerEntry, counts: list[int]) -> Cell:
    params = as_dict(resolve(entry.params, {ALLOCATION: counts}, f"pruner {entry.name}"))
    inputs = {
        **host.inputs,
        "pruner": {"name": entry.name, "params": params},
        "revisions": {**host.inputs["revisions"], "pruner": entry.revision},
    }
    return Cell(inputs, host.parent, host.network, f"{host.label}{MARK}{entry.name}")
