"""What pruning took, entry by entry: one machine, shared targets, and the cheapest as the measure."""

from __future__ import annotations

from typing import Any

from synobench.board.build import Network, SuiteFacts, build_board
from synobench.board.findings import EFFORT, effort
from synobench.testing.records import make_record


def spent(pruner: str, target: float, seconds: float, forward: int = 10, machine: str = "cpu") -> dict[str, Any]:
    record = make_record(pruner, target, machine=machine)
    record["cost"]["prune"].update(cpu_seconds=seconds, forward=forward)
    return record


def network(*records: dict[str, Any]) -> Network:
    facts = SuiteFacts("demo", "1.0", "?", "none", {"none": "total"})
    metrics = {EFFORT: lambda record: record["cost"]["prune"].get("cpu_seconds")}
    (found,) = build_board(facts, records, {"none": lambda _: {"total": 1.0}}, metrics).networks
    return found


def test_entries_stand_beside_the_cheapest_by_the_targets_that_all_have() -> None:
    told = effort(
        network(spent("slow", 0.5, 8.0), spent("slow", 0.9, 12.0), spent("fast", 0.5, 2.0), spent("fast", 0.9, 0.5))
    )
    assert told[0] == ("entry", "sparsity 50 %", "sparsity 90 %", "to the least")
    assert {row[0]: row[1:] for row in told[1:]} == {
        "slow": ("8.00", "12.0", "8.00"),
        "fast": ("2.00", "0.50", "1.00"),
    }
    partly = effort(network(spent("slow", 0.5, 8.0), spent("fast", 0.5, 2.0), spent("fast", 0.9, 100.0)))
    assert {row[0]: row[-1] for row in partly[1:]} == {"slow": "4.00", "fast": "1.00"}


def test_entries_without_passes_are_no_measure() -> None:
    told = effort(network(spent("slow", 0.5, 8.0), spent("magnitude", 0.5, 0.01, forward=0)))
    assert [row[0] for row in told[1:]] == ["slow"]


def test_two_machines_no_shared_target_and_no_such_metric_tell_nothing() -> None:
    assert effort(network(spent("slow", 0.5, 8.0), spent("fast", 0.5, 2.0, machine="gpu"))) == []
    assert effort(network(spent("slow", 0.5, 8.0), spent("fast", 0.9, 2.0))) == []
    lacking = spent("slow", 0.5, 8.0)
    del lacking["cost"]["prune"]["cpu_seconds"]
    assert effort(network(lacking)) == []
