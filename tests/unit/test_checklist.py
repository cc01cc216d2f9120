"""The checklist: for each item records that meet it and records that fail it, and a page whose sentences hold."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from synobench.board import Board, SuiteFacts, build_board, rows
from synobench.board.checklist import CLASSES, FALL, ITEMS, PAIRS, POINTS, Checklist, Item
from synobench.board.text import board_text
from synobench.store import key_of
from synobench.testing.records import make_inputs, make_records
from synobench.twins import kept_counts

Record = dict[str, Any]
Change = Callable[[Record], Record]
FACTS = SuiteFacts("demo", "1.0", "Which?", "c", {"c": "n"})
TARGETS = (0.5, 0.7, 0.8, 0.9, 0.95)
NETWORKS = (("digits", "snn-conv"), ("mnist", "snn-conv"), ("mnist", "resnet20"))
HITS = (186, 184, 180, 170, 150)
PAGE = (Path(__file__).parents[2] / "docs" / "checklist.md").read_text(encoding="utf-8")


@functools.cache
def whole(
    targets: tuple[float, ...] = TARGETS,
    networks: tuple[tuple[str, str], ...] = NETWORKS,
    seeds: int = 5,
    hits: tuple[int, ...] = HITS,
) -> Sequence[Record]:
    """Return records that meet every item that applies, as far as the arguments let them."""
    told = {entry: hits[: len(targets)] for entry in ("taylor", "magnitude", "random")}
    records = [joined(r) for r in make_records(told, targets, range(seeds), networks)]
    twins = {t["key"]: t for r in records if r["inputs"]["target"]["name"] != "none" for t in twins_of(r)}
    return [*records, *twins.values()]


def joined(record: Record, outputs: int = 10) -> Record:
    """Return a record whose last layer has so many outputs and, in a resnet, is fed by two others."""
    ledger = record["outcome"]["ledger"]
    resnet = record["inputs"]["model"]["name"] == "resnet20"
    first, last = ledger["layers"]
    last = {**last, "output": [outputs], "source": ["conv1", "conv0"] if resnet else ["conv1"]}
    return {**record, "outcome": {**record["outcome"], "ledger": {**ledger, "layers": [first, last]}}}


def twins_of(host: Record) -> list[Record]:
    made = []
    for kind in ("magnitude", "random"):
        inputs = {**host["inputs"], "pruner": {"name": kind, "params": {"allocation": kept_counts(host)}}}
        made.append({**host, "key": key_of(inputs), "inputs": inputs})
    return made


def board(records: Iterable[Record], **facts: Any) -> Board:
    suite = dataclasses.replace(FACTS, **facts)
    return build_board(suite, records, {"c": lambda ledger: {"n": float(sum(x.effective for x in ledger.layers))}})


def graded(records: Iterable[Record], entry: str = "taylor", **facts: Any) -> dict[str, Item]:
    (found,) = (c for c in board(records, **facts).checklists if c.entry == entry)
    return {item.name: item for item in found.items}


def is_twin(record: Record) -> bool:
    return bool((record["inputs"]["pruner"].get("params") or {}).get("allocation"))


def named(record: Record, *names: str) -> bool:
    return record["inputs"]["pruner"]["name"] in names and not is_twin(record)


def at(record: Record, *seeds: int, entry: str = "taylor") -> bool:
    return named(record, entry) and record["inputs"]["seed"] in seeds


def with_code(record: Record, **facts: Any) -> Record:
    provenance = record["provenance"]
    return {**record, "provenance": {**provenance, "code": {**provenance["code"], **facts}}}


def with_library(record: Record, version: str) -> Record:
    return {**record, "provenance": {**record["provenance"], "libraries": {"torch": version, "numpy": "2"}}}


def without_five(record: Record) -> Record:
    outcome = record["outcome"]
    return {**record, "outcome": {**outcome, "test": {"top1": outcome["test"]["top1"], "top5": None}}}


def many(records: Iterable[Record]) -> list[Record]:
    return [joined(record, 100) for record in records]


LACKING: dict[str, list[tuple[Callable[[], Sequence[Record]], str]]] = {
    "compression and speed-up": [
        (
            lambda: [r for r in whole() if not (named(r, "none") and r["inputs"]["dataset"]["name"] == "digits")],
            "5 of 15 points lack one of the two",
        )
    ],
    "operating points": [
        (lambda: whole(TARGETS[1:]), "4 on digits / snn-conv, the fewest"),
        (
            lambda: [
                r
                for r in whole()
                if not (r["inputs"]["target"].get("value") == 0.7 and r["inputs"]["model"]["name"] == "resnet20")
            ],
            "4 on mnist / resnet20, the fewest",
        ),
    ],
    "data sets and networks": [
        (lambda: whole(networks=NETWORKS[1:]), "2 pairs, 1 with skip connections"),
        (lambda: whole(networks=(*NETWORKS[:2], ("digits", "lenet5"))), "3 pairs, 0 with skip connections"),
    ],
    "mean and deviation": [
        (lambda: whole(seeds=2), "2 seeds, the fewest; 15 of 15 points under 3"),
        (
            lambda: [
                r for r in whole() if not (at(r, 0) or at(r, 1) or at(r, 2)) or r["inputs"]["target"]["value"] < 0.9
            ],
            "2 seeds, the fewest; 6 of 15 points under 3",
        ),
    ],
    "dense control": [
        (
            lambda: [r for r in whole() if not (at(r, 3, entry="none") and r["inputs"]["dataset"]["name"] == "digits")],
            "lacks seeds on digits / snn-conv",
        ),
    ],
    "same data and code": [
        (
            lambda: [with_code(r, commit="1234567" * 5) if at(r, 0) else r for r in whole()],
            "2 commits: 0000000, 1234567",
        ),
        (
            lambda: [with_code(r, dirty=True) if at(r, 0, entry="none") else r for r in whole()],
            "3 of 390 runs with uncommitted changes",
        ),
        (lambda: [with_library(r, "2" if at(r, 1) else "1") for r in whole()], "versions differ: torch"),
        (
            lambda: [with_code(r, commit=None) if at(r, 0, entry="random") else r for r in whole()],
            "no commit told by 15 of 390 runs",
        ),
        (lambda: [with_code(r, dirty=True) if is_twin(r) else r for r in whole()], "150 of 390 runs with uncom"),
    ],
    "top-5": [(lambda: [without_five(r) if at(r, 0) else r for r in many(whole())], "top-5 of 60 of 75 runs")],
    "baselines": [
        (lambda: [r for r in whole() if not named(r, "random")], "no global random at 15 of 15 points"),
        (
            lambda: [r for r in whole() if not (is_twin(r) and r["inputs"]["pruner"]["name"] == "magnitude")],
            "no magnitude twin at 15 of 15 points",
        ),
        (
            lambda: [r for r in whole() if not (is_twin(r) and r["inputs"]["seed"] == 2)],
            "no magnitude twin at 15 of 15 points; no random twin at 15 of 15 points",
        ),
        (
            lambda: [r for r in whole() if not (named(r, "random") and r["inputs"]["target"]["value"] == 0.9)],
            "no global random at 3 of 15 points",
        ),
        (
            lambda: [scoped(r) if named(r, "magnitude") else r for r in whole()],
            "no global magnitude at 15 of 15 points",
        ),
    ],
    "where accuracy falls": [
        (lambda: whole(hits=(190, 190, 190, 190, 190)), "by "),
        (lambda: [r for r in whole() if not named(r, "none")], "no difference to a dense control on digits / snn-conv"),
    ],
    "sample size": [
        (lambda: whole(seeds=4), "4 seeds and 200 test images at least: "),
        (
            lambda: [r for r in whole() if not (at(r, 4) and r["inputs"]["target"]["value"] == 0.95)],
            "4 seeds and 200 test images at least: ",
        ),
    ],
}


def scoped(record: Record) -> Record:
    inputs = {**record["inputs"], "pruner": {"name": "magnitude", "params": {"scope": "layer"}}}
    return {**record, "inputs": inputs, "key": key_of(inputs)}


def test_good_records_meet_every_item_that_applies() -> None:
    found = graded(whole())
    assert {name: item.met for name, item in found.items()} == dict.fromkeys(ITEMS, True) | {"top-5": None}
    assert found["top-5"].told == "10 classes at most"
    assert {item.met for item in graded(many(whole())).values()} == {True}
    assert Checklist("x", tuple(found.values())).badge == "10 of 10"


@pytest.mark.parametrize(
    ("name", "records", "told"), [(name, *case) for name, cases in LACKING.items() for case in cases]
)
def test_an_item_that_is_not_met_says_by_which_figure(
    name: str, records: Callable[[], Sequence[Record]], told: str
) -> None:
    item = graded(records())[name]
    assert item.met is False
    assert item.told.startswith(told), item.told
    assert "\n" not in item.told


def test_every_item_has_a_case_that_fails_it() -> None:
    assert set(LACKING) | {"raw accuracy"} == set(ITEMS)


def test_a_planned_point_without_a_run_has_no_accuracy() -> None:
    plan = [make_inputs("taylor", 0.99, dataset="digits"), make_inputs("taylor", 0.5, dataset="digits")]
    item = graded(whole(), plan=plan)["raw accuracy"]
    assert (item.met, item.told) == (False, "1 of 16 points have no run")
    elsewhere = [make_inputs("taylor", 0.5, dataset="cifar-10")]
    found = graded(whole(), plan=elsewhere)
    assert (found["raw accuracy"].met, found["data sets and networks"].told) == (
        False,
        "3 pairs, 1 with skip connections",
    )


def test_where_ledgers_tell_no_sources_the_number_of_pairs_decides() -> None:
    def untold(record: Record) -> Record:
        ledger = record["outcome"]["ledger"]
        layers = [{k: v for k, v in layer.items() if k != "source"} for layer in ledger["layers"]]
        return {**record, "outcome": {**record["outcome"], "ledger": {**ledger, "layers": layers}}}

    item = graded(map(untold, whole()))["data sets and networks"]
    assert (item.met, item.told) == (True, "3 pairs, whether one has skip connections is not told")


def test_other_targets_than_sparsities_need_no_twins() -> None:
    def aimed(record: Record) -> Record:
        target = record["inputs"]["target"]
        inputs = {**record["inputs"], "target": {**target, "name": "parameters"}}
        outcome = {**record["outcome"], "sparsity": {**record["outcome"]["sparsity"], "asked": None}}
        return {**record, "inputs": inputs, "key": key_of(inputs), "outcome": outcome}

    plain = [r for r in whole() if not is_twin(r)]
    assert graded(r if named(r, "none") else aimed(r) for r in plain)["baselines"].met
    assert not graded(plain)["baselines"].met


def test_an_entry_without_a_run_and_the_control_are_not_graded() -> None:
    found = board(whole(), plan=[make_inputs("later", 0.5, dataset="digits")])
    assert [c.entry for c in found.checklists] == ["magnitude", "random", "taylor"]
    assert board([], plan=[make_inputs("later", 0.5)]).checklists == ()


def test_the_order_of_the_records_is_nothing() -> None:
    records = whole(seeds=3)
    assert board(records).checklists == board(reversed(records)).checklists


def test_the_text_tells_the_badges() -> None:
    assert "  taylor: 10 of 10\n" in board_text(board(whole()))


NUMBERS = {
    "operating points": [POINTS],
    "data sets and networks": [PAIRS],
    "mean and deviation": [rows.FEWEST],
    "top-5": [5, 5, CLASSES],
    "where accuracy falls": [100 * FALL],
    "sample size": [rows.FEW],
}


def test_the_page_tells_every_item_and_its_numbers() -> None:
    told = re.findall(r'(?m)^- <a id="([a-z0-9-]+)"></a>\*\*([^*]+)\*\*: (.+)$', PAGE)
    assert [name for _, name, _ in told] == list(ITEMS)
    assert [anchor for anchor, _, _ in told] == [name.replace(" ", "-") for name in ITEMS]
    for _, name, text in told:
        assert [float(n) for n in re.findall(r"\d+", name + text)] == NUMBERS.get(name, []), name


def test_the_numbers_are_the_bounds_themselves() -> None:
    assert graded(whole(TARGETS[:POINTS]))["operating points"].met
    assert not graded(whole(TARGETS[: POINTS - 1]))["operating points"].met
    assert graded(whole(seeds=rows.FEWEST))["mean and deviation"].met
    assert graded(whole(seeds=rows.FEW))["sample size"].met
    assert graded([joined(r, CLASSES) for r in whole()])["top-5"].met is None
    assert graded([joined(r, CLASSES + 1) for r in whole()])["top-5"].met is True
