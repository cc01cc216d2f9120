"""Boards whose entries are training rules: who is judged against whom, what an entry is called, what stands aside."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synobench import boards
from synobench.board import SuiteFacts, build_board, findings, prose
from synobench.board.text import board_text
from synobench.board.versus import UNPRUNED, trained
from synobench.compare.entries import compare_entries, find
from synobench.errors import BenchError
from synobench.protocol import RULE, parse
from synobench.registry import Registry
from synobench.stats.multiple import compare
from synobench.store import Store, key_of
from synobench.testing.records import make_failure, make_record
from synobench_renderers import picture

PARTS = {
    "backprop": {"name": "backprop", "params": {"rate": 0.1}},
    "local": {"name": "local", "params": {"energy": "centred", "steps": 8}},
    "plain": {"name": "local", "params": {"energy": "plain", "steps": 8}},
}
HITS = {
    ("backprop", "none"): [180, 184, 182, 183, 181],
    ("local", "none"): [180, 183, 183, 183, 180],
    ("plain", "none"): [150, 153, 150, 155, 151],
    ("backprop", "magnitude"): [160, 166, 163, 164, 160],
    ("local", "magnitude"): [170, 174, 173, 175, 170],
    ("plain", "magnitude"): [150, 153, 150, 155, 151],
}


def record(rule: str, pruner: str, seed: int, hits: int, **how: Any) -> Any:
    dataset = how.get("dataset", "digits")
    parent = {"name": "trained", "key": key_of({"rule": rule, "seed": seed, "dataset": dataset})}
    target = None if pruner == "none" else 0.9
    return make_record(
        pruner, target, seed, hits, **{"rule": PARTS[rule], "tune": PARTS[rule], "parent": parent, **how}
    )


def records(networks: int = 1, pruners: tuple[str, ...] = ("none", "magnitude")) -> list[Any]:
    return [
        record(rule, pruner, seed, hits, dataset=f"data{n}")
        for n in range(networks)
        for (rule, pruner), each in HITS.items()
        for seed, hits in enumerate(each)
        if pruner in pruners
    ]


def board_of(held: list[Any], **changes: Any) -> Any:
    firsts = {trained(r["inputs"]): r["inputs"]["rule"] for r in held}
    facts = SuiteFacts(
        "demo",
        "1.0",
        "Which?",
        "c",
        {"c": "n"},
        versus=RULE,
        references=frozenset(place for place, rule in firsts.items() if rule["name"] == "backprop"),
    )
    return build_board(dataclasses.replace(facts, **changes), held, {"c": lambda _: {"n": 1.0}})


@pytest.fixture(scope="module")
def board() -> Any:
    return board_of(records())


def row(board: Any, entry: str) -> Any:
    (found,) = (row for row in board.networks[0].rows if row.entry == entry)
    return found


def by_seed(rule: str, pruner: str) -> dict[int, float]:
    return {seed: hits / 200 for seed, hits in enumerate(HITS[rule, pruner])}


def test_each_rule_is_an_entry_unpruned_and_one_with_each_pruner(board: Any) -> None:
    told = [(r.target_label, r.rank, r.entry) for r in board.networks[0].rows]
    assert told == [
        (UNPRUNED, 1, "backprop"),
        (UNPRUNED, 2, "local[energy=centred]"),
        (UNPRUNED, 3, "local[energy=plain]"),
        ("sparsity 90 %", 1, "local[energy=centred] + magnitude"),
        ("sparsity 90 %", 2, "backprop + magnitude"),
        ("sparsity 90 %", 3, "local[energy=plain] + magnitude"),
    ]
    assert not any(r.control for r in board.networks[0].rows)
    assert row(board, "local[energy=plain]").detail == "local[energy=plain,steps=8]"
    assert row(board, "backprop + magnitude").detail == "backprop[rate=0.1] + magnitude"


def test_verdicts_are_against_the_reference_rule_with_the_same_pruner_in_one_family(board: Any) -> None:
    pairs = {
        f"{rule} {pruner}": (by_seed(rule, pruner), by_seed("backprop", pruner))
        for pruner in ("none", "magnitude")
        for rule in ("local", "plain")
    }
    expected = {c.name: c for c in compare(pairs)}
    for rule, label in (("local", "local[energy=centred]"), ("plain", "local[energy=plain]")):
        for pruner, after in (("none", ""), ("magnitude", " + magnitude")):
            found = row(board, label + after).verdict
            assert (found.verdict, found.adjusted) == (
                expected[f"{rule} {pruner}"].verdict,
                expected[f"{rule} {pruner}"].adjusted,
            )
    assert {row(board, name).verdict for name in ("backprop", "backprop + magnitude")} == {None}
    assert row(board, "local[energy=plain]").verdict.verdict == "worse"
    assert row(board, "local[energy=centred] + magnitude").verdict.verdict == "better"
    assert len(row(board, "local[energy=plain]").mcnemar) == 5
    assert board.networks[0].reference == "backprop"


def test_a_pruned_entry_differs_from_the_unpruned_network_of_its_own_rule(board: Any) -> None:
    assert row(board, "local[energy=plain] + magnitude").difference.mean == 0
    assert row(board, "local[energy=centred] + magnitude").difference.mean == pytest.approx(-47 / 1000)
    assert row(board, "backprop").difference is row(board, "backprop").to_control is None
    assert row(board, "local[energy=plain]").to_control is None
    against = [power.against for power in board.networks[0].power]
    assert against == ["backprop", "the dense network of its own rule"]


def test_the_best_group_is_one_of_rules(board: Any) -> None:
    assert [r.entry for r in board.networks[0].rows if r.best] == [
        "backprop",
        "local[energy=centred]",
        "local[energy=centred] + magnitude",
    ]


def test_titles_name_a_rule_on_each_network_whatever_its_rate() -> None:
    held = records(2, ("none",))
    slow = {"name": "backprop", "params": {"rate": 0.01}}
    for one in held:
        if one["inputs"]["dataset"]["name"] == "data1" and one["inputs"]["rule"]["name"] == "backprop":
            one["inputs"].update(rule=slow, tune=slow)
            one["key"] = key_of(one["inputs"])
    titles = {trained(r["inputs"]): "BP" for r in held if r["inputs"]["rule"]["name"] == "backprop"}
    found = board_of(held, titles=titles)
    assert [n.rows[0].entry for n in found.networks] == ["BP", "BP"]
    assert prose.entries(found)[:2] == [
        ("BP on data0 / snn-conv", "backprop[rate=0.1]"),
        ("BP on data1 / snn-conv", "backprop[rate=0.01]"),
    ]
    assert [n.reference for n in found.networks] == ["BP", "BP"]


def test_fine_tuning_by_another_rule_is_a_setting_and_by_its_own_is_none() -> None:
    other = [record("local", "magnitude", s, 160, tune=PARTS["backprop"], dataset="data0") for s in range(3)]
    found = board_of([*records(), *other]).networks[0].rows
    labels = {r.label for r in found if r.entry == "local[energy=centred] + magnitude"}
    assert labels == {
        "local[energy=centred] + magnitude (tune=as trained)",
        "local[energy=centred] + magnitude (tune=backprop)",
    }


def test_rules_are_ranked_across_networks_by_unpruned_accuracy_from_six_on() -> None:
    found = board_of(records(6))
    assert found.across is not None
    assert list(found.across.ranks) == ["backprop", "local[energy=centred]", "local[energy=plain]"]
    assert found.across.values["backprop"]["data0 / snn-conv"] == pytest.approx(0.91)
    assert prose.across(found)[0].startswith("Accuracy of unpruned networks, with each network as a block")
    assert findings.standing(found)[0][2:4] == ("mean top-1 %", "IQM of the reference's, %")
    assert "1 block (a data set with a network) on which" in prose.across(board_of(records()))[0]


def test_the_checklist_of_pruning_is_left_out(board: Any) -> None:
    assert board.checklists == ()


def test_on_a_terminal_the_difference_is_to_the_reference(board: Any) -> None:
    text = board_text(board)
    assert "to reference" in text
    assert "to dense" not in text
    line = next(line for line in text.splitlines() if "local[energy=plain]" in line and "magnitude" not in line)
    assert "\N{MINUS SIGN}15.10" in line
    assert "worse" in line
    assert max(map(len, text.splitlines())) <= 100


def test_a_failure_and_what_is_missing_name_the_rule() -> None:
    failure = make_failure("magnitude", rule=PARTS["plain"], tune=PARTS["plain"])
    gap = copy.deepcopy(record("plain", "none", 9, 1)["inputs"])
    found = board_of([*records(), failure], plan=[gap])
    assert "local[energy=plain,steps=8]" in found.failures[0].label
    missing = [told for network in found.networks for told in prose.missing(network)]
    assert missing == ["local[energy=plain], unpruned: seed 9"]


SUITE = """
name = "demo"
version = "1.0"
question = "Which?"
counter = "effective"
seeds = [0, 1]
versus = "rule"
reference = "BP"
pruners = ["none"]
[[networks]]
dataset = "digits"
model = "lenet5"
train_epochs = 2
tune_epochs = 0
batch = 32
pruners = ["none", "magnitude"]
[[networks.targets]]
name = "sparsity"
values = [0.9]
[networks.rules]
"slow" = "backprop[rate=0.01]"
"BP" = "backprop[rate=0.1]"
"""


def test_a_suite_gives_rules_their_names_and_the_reference(registry: Registry, tmp_path: Path) -> None:
    (network,) = boards.build(parse(SUITE), registry, tmp_path).networks
    told = {(r.entry, r.target_label, r.reference, r.missing) for r in network.rows}
    assert told == {
        ("BP", UNPRUNED, True, (0, 1)),
        ("slow", UNPRUNED, False, (0, 1)),
        ("BP + magnitude", "sparsity 90 %", True, (0, 1)),
        ("slow + magnitude", "sparsity 90 %", False, (0, 1)),
    }


def test_a_board_out_of_the_cache_is_the_one_without(registry: Registry, tmp_path: Path) -> None:
    table = {"by": ["fc1.weight", "fc2.weight"], "at": [0, 16], "values": [[1e-3, None], [0.25, 2e-3]]}
    suite, store = parse(SUITE.replace("[0, 1]", "[0, 1, 2]")), Store(tmp_path / "leaderboards")
    for one in records():
        one["outcome"]["measurements"] = {"train/update-norm": table, "train/largest-update": None}
        store.add(one)
    made = []
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        with boards.keeping(cache, suite, registry, store.root) as kept:
            board = boards.build(suite, registry, store.root, kept=kept)
            made.append([(n, r.entry, r.verdict, r.runs[0].training) for n in board.networks for r in n.rows if r.runs])
    assert made[0]
    assert made[0][0][3] == {"update-norm": table}
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize(
    "told",
    [
        [1],
        {"train/update-norm": "high"},
        {"train/update-norm": {"by": [["x"]], "at": [1], "values": [[1]]}},
        {"train/update-norm": {"by": ["x"], "at": [1], "values": [[10**400]]}},
        {"train/energy": {"by": ["\u00b2", "1"], "at": [1], "values": [[1.0, 2.0]]}},
    ],
)
def test_hostile_measurements_are_refused_in_one_line_or_left_out(told: Any) -> None:
    held = records()
    held[0]["outcome"]["measurements"] = told
    if isinstance(told, list):
        with pytest.raises(BenchError, match=r"outcome\.measurements"):
            board_of(held)
        return
    board = board_of(held)
    for name in ("updates", "energy", "cosine"):
        getattr(picture, f"{name}_svg")(board)
    shown = [run.training for n in board.networks for r in n.rows for run in r.runs if run.training]
    assert len(shown) == ("train/energy" in told)


@pytest.mark.parametrize("kind", ["none", "magnitude"])
def test_the_same_rules_on_a_board_of_pruners_are_settings(kind: str) -> None:
    facts: Callable[..., SuiteFacts] = SuiteFacts
    board = build_board(facts("demo", "1.0", "?", "c", {"c": "n"}), records(), {"c": lambda _: {"n": 1.0}})
    found = {r.label for r in board.networks[0].rows if r.entry == kind}
    assert found == {f"{kind} (rule={n})" for n in ("backprop", "local[energy=centred]", "local[energy=plain]")}


def test_two_rules_are_compared_by_what_the_board_calls_them(board: Any, registry: Registry) -> None:
    one, two = (find(text, board, registry) for text in ("local[energy=plain]", "backprop"))
    assert (one, two) == ("local[energy=plain]", "backprop")
    report = compare_entries(one, two, board)
    assert report.shared == 1
    gap = [100 * (a - b) for a, b in zip(HITS["plain", "none"], HITS["backprop", "none"], strict=True)]
    told = f"{sum(gap) / len(gap) / 200:.2f}".replace("-", "\N{MINUS SIGN}")
    assert any(told in cell for section in report.sections for line in section.rows for cell in line)


def test_a_title_is_one_entry_in_a_comparison_whatever_its_rule_on_each_network(registry: Registry) -> None:
    held = records(networks=2, pruners=("none",))
    titles = {trained(r["inputs"]): r["inputs"]["rule"]["name"].upper() for r in held}
    # The plain rule stands for the local one on the second network.
    kept = [
        r
        for r in held
        if r["inputs"]["rule"]["name"] == "backprop"
        or (r["inputs"]["rule"]["params"]["energy"] == "plain") == (r["inputs"]["dataset"]["name"] == "data1")
    ]
    titled = board_of(kept, titles=titles)
    assert find("LOCAL", titled, registry) == "LOCAL"
    assert compare_entries("LOCAL", "BACKPROP", titled).shared == 2
