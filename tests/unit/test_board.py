"""Records -> Board: what is compared with what, who is ranked, and what is shown as a gap."""

import copy
import dataclasses
import itertools
import math
import random
import statistics
from typing import Any

import pytest
from scipy import stats as oracle

from synobench.board import SuiteFacts, build_board
from synobench.board.figures import remarks
from synobench.errors import BenchError
from synobench.testing.records import make_failure, make_inputs, make_record, make_records

MEANS = {"magnitude[scope=global]": (188, 150), "magnitude[scope=layer]": (184, 140), "random": (170, 80)}
TARGETS = (0.5, 0.9)


def effective(ledger: Any) -> Any:
    return {"total": sum(layer.effective for layer in ledger.layers) / ledger.samples}


def facts(plan: Any = (), **changes: Any) -> Any:
    return dataclasses.replace(SuiteFacts("demo", "1.0", "?", "effective", {"effective": "total"}, {}, plan), **changes)


def board_of(records: Any, plan: Any = (), metrics: Any = None, **changes: Any) -> Any:
    return build_board(facts(plan, **changes), records, {"effective": effective}, metrics)


def row_of(board: Any, entry: Any, target: Any = "sparsity 90 %", network: Any = 0) -> Any:
    return next(r for r in board.networks[network].rows if (r.entry, r.target_label) == (entry, target))


def cell(pruner: Any, hits: Any, target: Any = 0.9, **how: Any) -> Any:
    """One record a seed; seeds count from 0."""
    return [make_record(pruner, target, seed, hit, **how) for seed, hit in enumerate(hits)]


CONTROL = cell("none", [190, 191, 189, 190, 192], None)


@pytest.fixture(scope="module")
def demo() -> Any:
    records = list(make_records(MEANS, TARGETS, networks=[("mnist", "snn-conv"), ("digits", "snn-conv")]))
    return board_of(records, [r["inputs"] for r in records])


def test_networks_are_sorted_and_rows_go_by_target_and_rank(demo: Any) -> None:
    assert [network.label for network in demo.networks] == ["digits / snn-conv", "mnist / snn-conv"]
    rows = demo.networks[0].rows
    assert [(row.entry, row.rank) for row in rows] == [
        ("none", None),
        *(("magnitude[scope=global]", 1), ("magnitude[scope=layer]", 2), ("random", 3)) * 2,
    ]
    assert [row.target_label for row in rows] == ["no target", *["sparsity 50 %"] * 3, *["sparsity 90 %"] * 3]


def test_accuracy_is_the_mean_over_seeds_with_its_interval() -> None:
    row = row_of(board_of([*CONTROL, *cell("obd", [150, 160, 154, 158, 148])]), "obd")

    values = [150 / 200, 160 / 200, 154 / 200, 158 / 200, 148 / 200]
    low, high = oracle.t.interval(0.95, 4, loc=sum(values) / 5, scale=oracle.sem(values))
    assert (row.accuracy.low, row.accuracy.high) == pytest.approx((low, high))
    assert (row.accuracy.n, row.seeds, row.few) == (5, (0, 1, 2, 3, 4), False)


def test_difference_is_to_the_control_paired_by_seed() -> None:
    row = row_of(board_of([*CONTROL, *cell("obd", [150, 160, 154])]), "obd")

    expected = oracle.ttest_rel([150 / 200, 160 / 200, 154 / 200], [190 / 200, 191 / 200, 189 / 200])
    interval = expected.confidence_interval()
    assert (row.difference.low, row.difference.high) == pytest.approx((interval.low, interval.high))


def with_parents(records: Any, *weights: Any) -> Any:
    """The records, as if they stood on parents with these weights."""
    for record, digest in zip(records, weights, strict=True):
        record["provenance"]["shared"] = {"parent": {"weights": digest}}
    return records


def test_only_runs_on_the_same_parent_are_paired() -> None:
    control = with_parents(copy.deepcopy(CONTROL[:4]), "a", "b", "c", None)
    row = row_of(board_of([*control, *with_parents(cell("obd", [150, 160, 154, 100]), "a", "b", "other", "d")]), "obd")

    assert (row.unpaired, row.difference.n, row.accuracy.n) == ((2,), 3, 4)
    assert row.difference.mean == pytest.approx((-40 - 31 - 90) / 600)
    assert remarks(row)[-1] == "seed 2 unpaired: the parents differ"


def test_a_parent_of_its_own_is_paired_by_seed() -> None:
    own = [make_record("set", 0.9, seed, 150, parent={"name": "trained", "key": f"{seed}" * 64}) for seed in range(3)]
    board = board_of([*with_parents(copy.deepcopy(CONTROL[:3]), "a", "b", "c"), *with_parents(own, "x", "y", "z")])

    assert (row_of(board, "set").unpaired, row_of(board, "set").difference.n) == ((), 3)


def test_without_a_control_differences_are_gaps() -> None:
    row = row_of(board_of(cell("obd", [150, 160, 154])), "obd")

    assert (row.difference, row.synops_ratio) == (None, None)
    assert row.synops.mean == 174


def test_the_control_of_another_setting_is_no_control() -> None:
    budget = {**make_inputs()["budget"], "tune_epochs": 9}
    board = board_of([*CONTROL, *cell("obd", [150, 160, 154], budget=budget)])

    row = next(row for row in board.networks[0].rows if row.entry == "obd")
    assert row.difference is None
    assert row.label == "obd (budget[tune_epochs=9])"


def test_synops_and_ratio_come_from_the_ledger(demo: Any) -> None:
    row = row_of(demo, "random")

    assert (row.synops.mean, row.synops.half) == (174, 0)
    assert row.synops_ratio.mean == pytest.approx(174 / 1744)
    assert row_of(demo, "none", "no target").synops_ratio.mean == 1
    assert demo.columns == ("effective.total",)


def test_metrics_become_columns_and_gaps_stay_gaps() -> None:
    def top5(record: Any) -> Any:
        return None if record["inputs"]["seed"] else record["outcome"]["test"]["top5"]["hits"]

    board = board_of(CONTROL, metrics={"top5": top5, "nothing": lambda _: None})

    columns = board.networks[0].rows[0].columns
    assert board.columns == ("effective.total", "nothing", "top5")
    assert (columns["top5"].n, columns["top5"].mean, columns["nothing"]) == (1, 195, None)


@pytest.mark.parametrize(
    ("n", "rank", "few"), [(1, None, True), (2, None, True), (3, 1, True), (4, 1, True), (5, 1, False)]
)
def test_few_seeds_are_marked_and_fewer_are_not_ranked(n: Any, rank: Any, few: Any) -> None:
    network = board_of([*CONTROL, *cell("obd", [150, 152, 149, 151, 150][:n])]).networks[0]

    row = network.rows[-1]
    assert (row.rank, row.few) == (rank, few)
    assert (row in network.below) is (rank is None)
    assert (row in network.above) is (rank is not None)


def test_a_better_mean_below_the_line_takes_no_rank() -> None:
    board = board_of([*CONTROL, *cell("lucky", [199, 199]), *cell("obd", [150, 152, 149])])

    assert (row_of(board, "lucky").rank, row_of(board, "obd").rank) == (None, 1)
    assert [row.entry for row in board.networks[0].below] == ["lucky"]


def test_ranks_go_by_mean_and_not_by_the_best_seed() -> None:
    board = board_of([*cell("steady", [150, 150, 151]), *cell("lucky", [199, 100, 100])])

    assert (row_of(board, "steady").rank, row_of(board, "lucky").rank) == (1, 2)


def test_equal_hits_share_a_rank() -> None:
    board = board_of([*cell("a", [150, 151, 155]), *cell("b", [155, 150, 151]), *cell("c", [10, 10, 10])])

    assert [row_of(board, name).rank for name in "abc"] == [1, 1, 3]


def test_best_group_rests_on_paired_intervals() -> None:
    first = [150, 160, 170, 180, 190]
    board = board_of(
        [
            *cell("first", first),
            *cell("near", [149, 161, 168, 181, 188]),
            *cell("behind", [146, 156, 165, 176, 186]),
            *cell("even", [hits - 4 for hits in first]),
        ]
    )

    # "behind" lies within the spread over seeds, but four or five hits lower; "even" leaves no spread to judge by
    assert [row_of(board, name).best for name in ("first", "near", "behind", "even")] == [True, True, False, None]


def test_an_entry_alone_is_no_group() -> None:
    assert row_of(board_of(cell("obd", [150, 151, 152])), "obd").best is None


def test_too_few_shared_seeds_say_nothing_of_the_group() -> None:
    late = [make_record("b", 0.9, seed, 140) for seed in (7, 8, 9)]

    assert row_of(board_of([*cell("a", [150, 151, 152]), *late]), "b").best is None


def test_gaps_name_their_seeds() -> None:
    plan = [make_inputs("obd", target, seed) for target in TARGETS for seed in range(5)]
    board = board_of(cell("obd", [150, 151, 152]), plan)

    assert row_of(board, "obd").missing == (3, 4)
    empty = row_of(board, "obd", "sparsity 50 %")
    assert (empty.missing, empty.accuracy, empty.sparsity, empty.synops) == ((0, 1, 2, 3, 4), None, None, None)
    assert empty in board.networks[0].below


def test_a_plan_alone_makes_a_board_of_gaps() -> None:
    board = board_of([], [make_inputs("none", None, 0), make_inputs("obd", 0.9, 0)])

    network = board.networks[0]
    assert [row.control for row in network.rows] == [True, False]
    assert (network.images, network.sampling, network.smallest, board.runs) == (None, None, None, ())


def test_failures_are_listed_until_a_run_succeeds() -> None:
    board = board_of([make_failure(seed=1), *cell("magnitude", [150])], [make_inputs(seed=1)])

    (failure,) = board.failures
    assert (failure.stage, failure.plugin, failure.message) == ("prune", "synobench_magnitude", "no finite score")
    assert failure.label == "digits / snn-conv / magnitude, sparsity 90 %, seed 1"
    assert row_of(board, "magnitude").missing == (1,)
    assert board_of([make_failure(seed=0), *cell("magnitude", [150])]).failures == ()


@pytest.mark.parametrize(
    ("target", "sparsity", "missed"),
    [
        ({"name": "sparsity", "value": 0.9}, 0.9, False),
        ({"name": "sparsity", "value": 0.9}, 0.8995, False),
        ({"name": "sparsity", "value": 0.9}, 0.9006, True),
        ({"name": "sparsity", "value": 0.9}, 0.85, True),
        ({"name": "parameters", "value": 0.5}, 0.508, False),
        ({"name": "parameters", "value": 0.5}, 0.5, True),
        ({"name": "synops", "value": 0.25, "counter": "effective"}, 0.75, False),
        ({"name": "synops", "value": 0.25, "counter": "effective"}, 0.74, True),
        ({"name": "synops", "value": 0.25, "counter": "unknown"}, 0.74, False),
    ],
)
def test_missed_targets_are_marked(target: Any, sparsity: Any, missed: Any) -> None:
    records = [*CONTROL, *cell("obd", [150, 151, 152], target, sparsity=sparsity)]
    row = next(row for row in board_of(records).networks[0].rows if row.entry == "obd")

    assert row.missed == ((0, 1, 2) if missed else ())


def test_equal_hits_on_a_checkpoint_are_deterministic() -> None:
    checkpoint = {"name": "resnet", "key": "0" * 64}
    same = [make_record("obd", 0.9, seed, parent=checkpoint) for seed in (0, 1)]
    for record in same:
        record["outcome"]["test"] = same[0]["outcome"]["test"]

    row = row_of(board_of(same), "obd")
    assert (row.deterministic, row.rank, row.few) == (True, 1, False)
    trained = copy.deepcopy(same)
    for record in trained:
        record["inputs"]["parent"]["name"] = "trained"
    assert not row_of(board_of(trained), "obd").deterministic
    assert not row_of(board_of(same[:1]), "obd").deterministic


def test_seconds_are_told_machine_by_machine() -> None:
    records = [*cell("obd", [150, 151], machine="slow", seconds=9.0), make_record("obd", 0.9, 2, machine="fast")]
    board = board_of(records)

    row = row_of(board, "obd")
    assert {name: phases["train"].mean for name, phases in row.seconds.items()} == {
        "name fast, threads 1": 1.5,
        "name slow, threads 1": 9.0,
    }
    assert [(machine.runs, machine.gflops) for machine in board.machines] == [(1, (42, 42)), (2, (40, 41))]
    assert board.networks[0].machines == tuple(row.seconds)
    assert row.cost["train"]["forward"].n == 3


def test_means_alone_are_those_of_the_estimates() -> None:
    def uneven(record: Any) -> Any:
        return [0.1, 0.2, 0.7, None][record["inputs"]["seed"] % 4]

    records = [make_record("obd", 0.9, seed, 150 + seed, seconds=0.1 + seed) for seed in range(4)]
    records[2]["cost"]["prune"]["forward"] = None
    records[3]["cost"]["train"]["forward"] += 1
    board = board_of([*CONTROL, *records], metrics={"uneven": uneven, "nothing": lambda _: None})

    for row in board.networks[0].rows:
        for means, estimates in (
            (row.mean_columns, row.columns),
            *((row.mean_cost[phase], held) for phase, held in row.cost.items()),
            *((row.mean_seconds[machine], held) for machine, held in row.seconds.items()),
        ):
            assert means == {name: one and one.mean for name, one in estimates.items()}
    row = row_of(board, "obd")
    assert row.columns["uneven"].n == row.cost["prune"]["forward"].n == 3
    assert row.mean_columns["uneven"] == math.fsum([0.1, 0.2, 0.7]) / 3
    assert row.mean_columns["nothing"] is None
    assert row.mean_cost["train"]["forward"] == sum(r["cost"]["train"]["forward"] for r in records) / 4


def test_columns_that_only_some_runs_have_are_told_of_these() -> None:
    def some(ledger: Any) -> Any:
        return {"total": 6.0, "extra" if next(seeds) else "other": 4.0}

    seeds = iter(range(3))
    records = sorted(cell("obd", [150, 151, 152]), key=lambda record: record["key"])
    board = build_board(facts(), records, {"effective": some})

    row = row_of(board, "obd")
    assert list(row.mean_columns) == list(row.columns) == ["effective.extra", "effective.other", "effective.total"]
    assert [row.columns[f"effective.{name}"].n for name in ("extra", "other", "total")] == [2, 1, 3]


def test_chance_is_told(demo: Any) -> None:
    network = demo.networks[0]

    assert network.images == 200
    dense = row_of(demo, "none", "no target").accuracy.mean
    assert network.sampling == pytest.approx(1.959964 * (dense * (1 - dense) / 200) ** 0.5)
    spreads = [row.difference.sd for row in network.rows if not row.control]
    assert network.pairs == 5
    assert network.smallest == pytest.approx(statistics.median(spreads) * 1.681997)


def test_only_the_newest_revision_of_a_part_counts() -> None:
    newer = {**make_inputs()["revisions"], "pruner": 2}
    records = [*cell("obd", [100, 100, 100]), *cell("obd", [150], revisions=newer), *cell("taylor", [140] * 3)]
    board = board_of(records)

    assert (len(row_of(board, "obd").runs), row_of(board, "obd").accuracy.mean) == (1, 0.75)
    assert len(row_of(board, "taylor").runs) == 3
    assert board.notes == ("3 runs of earlier revisions left out",)


def test_a_planned_revision_supersedes_the_records() -> None:
    plan = [make_inputs("obd", revisions={**make_inputs()["revisions"], "bench": 2})]

    assert board_of(cell("obd", [100]), plan).runs == ()


def test_other_versions_are_left_out_with_a_note() -> None:
    other = {"name": "demo", "version": "0.9"}
    board = board_of([*cell("obd", [150]), *cell("obd", [100], suite=other)])

    assert len(board.runs) == 1
    assert board.notes == ("1 records of another suite or version left out",)


@pytest.mark.parametrize(
    ("records", "told"),
    [
        (cell("obd", [150]) * 2, "two records have the key"),
        (
            [*cell("obd", [150]), *cell("obd", [1], parent={"name": "trained", "key": "f"})],
            "differ in their parent alone",
        ),
        ([*cell("obd", [150]), *cell("taylor", [1], total=100)], "judged on 100 and on 200 test images"),
    ],
)
def test_two_claims_to_one_place_are_refused(records: Any, told: Any) -> None:
    with pytest.raises(BenchError, match=told):
        board_of(records)


def test_the_suites_counter_must_be_there() -> None:
    with pytest.raises(BenchError, match=r"demo counts with 'efective' \(did you mean 'effective'\?\)"):
        board_of([], counter="efective")


def test_a_forged_record_stops_the_board() -> None:
    record = make_record()
    record["outcome"]["test"]["top1"]["hits"] += 1

    with pytest.raises(BenchError, match=record["key"]):
        board_of([record])


def test_the_order_of_records_changes_nothing(demo: Any) -> None:
    records = list(make_records(MEANS, TARGETS, networks=[("mnist", "snn-conv"), ("digits", "snn-conv")]))
    plan = [r["inputs"] for r in records]
    for seed in range(3):
        random.Random(seed).shuffle(records)
        random.Random(seed + 9).shuffle(plan)
        shuffled = board_of(records, plan)
        assert (shuffled.networks, shuffled.runs) == (demo.networks, demo.runs)


def test_building_changes_no_record() -> None:
    records = cell("obd", [150, 151, 152])
    before = copy.deepcopy(records)
    board_of(records, metrics={"m": lambda _: 1.0})

    assert records == before


def test_runs_are_every_record_once(demo: Any) -> None:
    keys = [run.key for run in demo.runs]

    assert len(keys) == len(set(keys)) == 2 * 5 * (1 + 3 * 2)
    assert all(a < b for a, b in itertools.pairwise(keys))
