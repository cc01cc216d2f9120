"""Checkpoints and published figures on a board: shown beside ours, never among them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from synobench import boards
from synobench.board import Board, SuiteFacts, build_board, prose
from synobench.protocol import Published, parse
from synobench.registry import Registry
from synobench.store import Store
from synobench.suite import cells
from synobench.testing.records import make_inputs, make_record

PARENT = {"name": "checkpoint", "checkpoint": "net", "digest": "sha256:" + 64 * "a", "key": 64 * "b"}
FIGURE = Published("Key2023", "net", "obd", {"name": "sparsity", "value": 0.9}, 79.32, 1.19, "as recalled")

OURS = "digits / mlp-300-150-10[bias=true,widths=300/150]"
OURS_ALONE = "digits / mlp-300-150-10"
RELEASED = "mnist / mlp-300-150-10[bias=false,widths=40/20]"

SUITE = """
name = "demo"
version = "1.0"
question = "?"
counter = "effective"
seeds = [0]
pruners = ["none", "magnitude"]
[[targets]]
name = "sparsity"
values = [0.5]
[[networks]]
checkpoint = "mlpnet-mnist"
tune_epochs = 0
batch = 64
[[networks]]
dataset = "digits"
model = "mlp-300-150-10"
rule = "backprop"
train_epochs = 1
tune_epochs = 0
batch = 64
[[published]]
source = "Key2023"
network = "digits/mlp-300-150-10"
entry = "magnitude"
targets = [{ name = "sparsity", values = [0.5] }]
values = [90]
[[published]]
source = "Key2023"
network = "mlpnet-mnist"
entry = "none"
values = [93.97]
"""


def effective(ledger: Any) -> Any:
    return {"total": sum(layer.effective for layer in ledger.layers) / ledger.samples}


def board_of(records: Any, published: Any = (), plan: Any = ()) -> Board:
    facts = SuiteFacts("demo", "1.0", "?", "effective", {"effective": "total"}, {}, plan, published)
    return build_board(facts, records, {"effective": effective})


def runs(pruner: str = "obd", target: float | None = 0.9, **how: Any) -> list[Any]:
    return [make_record(pruner, target, seed, 150, **how) for seed in range(3)]


def test_figures_come_with_their_network_under_its_label_on_the_board() -> None:
    records = [*runs(), *runs(dataset="mnist")]
    board = board_of(records, [(make_inputs(dataset="mnist"), FIGURE), (make_inputs(dataset="cifar"), FIGURE)])
    assert [n.published for n in board.networks] == [(), (dataclasses.replace(FIGURE, network="mnist / snn-conv"),)]
    assert board.published == board.networks[1].published


def test_figures_change_nothing_else() -> None:
    records = [*runs("none", None), *runs(), *runs("random")]
    plain, told = board_of(records), board_of(records, [(make_inputs(), FIGURE)])
    bare = dataclasses.replace(told.networks[0], published=())
    assert dataclasses.replace(plain, suite=told.suite) == dataclasses.replace(told, networks=(bare,))


def test_a_suites_figures_find_their_networks(registry: Registry, tmp_path: Path) -> None:
    board = boards.build(parse(SUITE), registry, tmp_path)
    told = {figure.network: figure.value for figure in board.published}
    assert told == {OURS: 90.0, RELEASED: 93.97}


def test_figures_on_a_network_that_cannot_be_resolved_here_are_left_out(registry: Registry, tmp_path: Path) -> None:
    text = SUITE.replace("mlpnet-mnist", "a-strangers-net")
    assert [figure.network for figure in boards.build(parse(text), registry, tmp_path).published] == [OURS_ALONE]


def test_every_pruner_of_a_network_is_planned_on_its_board(registry: Registry, tmp_path: Path) -> None:
    text = SUITE.replace(
        "tune_epochs = 0\nbatch = 64\n[[networks]]", 'tune_epochs = 0\nbatch = 64\npruners = ["random"]\n[[networks]]'
    )
    suite = parse(text)
    board = boards.build(suite, registry, tmp_path)
    entries = {network.label: {row.entry for row in network.rows} for network in board.networks}
    assert entries == {RELEASED: {"random"}, OURS: {"none", "magnitude"}}
    assert Store(tmp_path).suites() == []
    assert len(cells(suite, registry)[0]) == 3


def test_the_board_says_which_checkpoint_a_network_is() -> None:
    board = board_of([*runs(parent=PARENT), *runs(dataset="mnist")])
    (line,) = [told for told in prose.reading(board) if "checkpoint" in told]
    assert line.startswith("digits / snn-conv stands on the checkpoint `net` (sha256:aaaaaaaaaaaa)")
    assert not any("checkpoint" in told for told in prose.reading(board_of(runs())))


def test_two_checkpoints_of_one_model_are_told_apart() -> None:
    other = {**PARENT, "checkpoint": "other", "key": 64 * "c"}
    (network,) = board_of([*runs(parent=PARENT), *runs(parent=other)]).networks
    assert {row.label for row in network.rows} == {
        "obd (parent=checkpoint[checkpoint=net])",
        "obd (parent=checkpoint[checkpoint=other])",
    }


def test_revisions_of_two_checkpoints_do_not_supersede_each_other() -> None:
    first = make_inputs()["revisions"] | {"parent": 1}
    other = {**PARENT, "checkpoint": "other", "key": 64 * "c"}
    older, newer = (
        runs(parent=PARENT, revisions=first),
        runs(parent=PARENT | {"key": 64 * "d"}, revisions=first | {"parent": 2}),
    )
    board = board_of([*older, *newer, *runs(dataset="mnist", parent=other, revisions=first)])
    assert [len(network.rows[0].runs) for network in board.networks] == [3, 3]
    assert board.notes == ("3 runs of earlier revisions left out",)


@pytest.mark.parametrize(("seconds", "known"), [(0.0, False), (80.0, True)])
def test_what_training_a_checkpoint_cost_is_a_gap_but_for_a_rebuild(seconds: float, known: bool) -> None:
    records = runs(parent=PARENT)
    for record in records:
        record["cost"]["train"] |= {"seconds": seconds}
    (row,) = board_of(records).networks[0].rows
    assert {row.cost["train"][name] is not None for name in ("samples", "forward", "backward")} == {known}
    assert (row.seconds[row.runs[0].machine]["train"] is not None) is known
    assert row.cost["prune"]["forward"] is not None


def test_a_row_that_cannot_vary_on_a_checkpoint_says_so() -> None:
    same = [make_record("obd", 0.9, seed, 150, parent=PARENT) for seed in range(3)]
    for record in same:
        record["outcome"]["test"] = same[0]["outcome"]["test"]
    (row,) = board_of(same).networks[0].rows
    assert row.deterministic
