"""The tables and sentences of verdicts, curves and standings, on a board small enough to be worked out by hand."""

import dataclasses
import math
from typing import Any

import pytest

from synobench.board import SuiteFacts, build_board, findings, prose
from synobench.board.figures import GAP
from synobench.board.text import board_text
from synobench.stats.curves import AtLoss
from synobench.stats.evidence import SignFlip
from synobench.stats.intervals import HALF_POINT
from synobench.stats.multiple import Comparison, compare
from synobench.stats.robust import Superiority
from synobench.testing.records import make_record

DENSE = [190, 191, 189, 190, 192]
BASE = [150, 160, 154, 158, 148]
BETTER = [156, 165, 160, 165, 155]
OPEN = [152, 155, 158, 156, 151]
FACTS = SuiteFacts(
    "demo", "1.0", "?", "effective", {"effective": "total"}, reference={"name": "magnitude", "params": {}}
)


def effective(ledger: Any) -> Any:
    return {"total": sum(layer.effective for layer in ledger.layers) / ledger.samples}


def cell(pruner: Any, hits: Any, target: Any = 0.9, **how: Any) -> list[Any]:
    return [make_record(pruner, target, seed, hit, **how) for seed, hit in enumerate(hits)]


def board_of(*groups: Any, **changes: Any) -> Any:
    facts = dataclasses.replace(FACTS, **changes)
    return build_board(facts, [r for group in groups for r in group], {"effective": effective})


def network(name: str = "mnist", shift: int = 0) -> list[Any]:
    how = {"dataset": name}
    return [
        *cell("none", DENSE, None, **how),
        *cell("magnitude", [hits + 30 for hits in BASE], 0.5, **how),
        *cell("magnitude", BASE, 0.9, **how),
        *cell("a", [hits + 30 + shift for hits in BETTER], 0.5, **how),
        *cell("a", BETTER, 0.9, **how),
        *cell("b", OPEN, 0.9, **how),
    ]


@pytest.fixture(scope="module")
def demo() -> Any:
    return board_of(network())


@pytest.fixture(scope="module")
def wide() -> Any:
    return board_of(*(network(f"set{i}", i) for i in range(6)))


def one(*differences: float) -> Comparison:
    (found,) = compare({"": (dict(enumerate(differences)), dict.fromkeys(range(len(differences)), 0.0))})
    return found


@pytest.mark.parametrize(
    ("differences", "told", "short"),
    [
        ((0.10, 0.11, 0.09, 0.10), "better", "better"),
        ((-0.10, -0.11, -0.09, -0.10), "worse", "worse"),
        ((0.0010, 0.0011, 0.0009, 0.0010), "better (< 0.5)", "better (< 0.5)"),
        ((0.0010, -0.0011, 0.0009, -0.0010), "same within 0.5", "same"),
        ((0.010, -0.011, 0.009, -0.010), "open: 48 seeds needed", "open: 48"),
        ((0.010, 0.010, 0.010), "open: no spread", "open: no spread"),
        ((0.010,), "open", "open"),
    ],
)
def test_a_verdict_is_told_in_few_words(differences: Any, told: str, short: str) -> None:
    assert findings.verdict(one(*differences)) == told
    assert findings.verdict(one(*differences), short=True) == short


def test_no_comparison_has_no_verdict() -> None:
    assert findings.verdict(None) == ""
    assert findings.verdict(dataclasses.replace(one(0.0, 0.0001, 0.0), margin=2 * HALF_POINT)) == "same within 1"


def test_figures_of_evidence() -> None:
    assert [findings.probability(p) for p in (None, 1.0, 0.4384, 0.0625, 0.00101, 0.0005)] == [
        GAP, "1.000", "0.438", "0.0625", "0.0010", "< 0.001",
    ]  # fmt: skip
    assert findings.sign_flip(SignFlip(5, 0.125, 0.0625)) == "0.125 (0.0625)"
    assert findings.chance(Superiority(3, 0, 2, 0.6, 0.147, 0.947)) == "0.60 [0.15, 0.95]"
    assert findings.sign_flip(None) == findings.chance(None) == findings.at_loss(None) == GAP


def test_a_crossing_is_a_figure_with_its_interval_or_a_bound() -> None:
    assert findings.at_loss(AtLoss(5, 6.7598, 6.448, 7.0865, (), ())) == "6.76 [6.45, 7.09]"
    assert findings.at_loss(AtLoss(1, 6.7598, None, None, (), ())) == "6.76"
    assert findings.at_loss(AtLoss(5, 18.686, None, None, (0, 2), ())) == "≥ 18.69"
    assert findings.at_loss(AtLoss(5, 0.04596, None, None, (0, 2), ()), most=True, digits=3) == "≤ 0.046"


def test_the_table_of_verdicts(demo: Any) -> None:
    heads, *rows = findings.verdicts(demo.networks[0])
    verdict = next(row.verdict for row in demo.networks[0].rows if row.label == "b")

    assert heads[2:8] == ("to magnitude", "verdict", "p", "sign-flip p (floor)", "P(A > B)", "McNemar")
    assert [row[:2] for row in rows] == [
        ("sparsity 50 %", "a"), ("sparsity 50 %", "magnitude"),
        ("sparsity 90 %", "a"), ("sparsity 90 %", "b"), ("sparsity 90 %", "magnitude"),
    ]  # fmt: skip
    half = f"{100 * verdict.difference.half:.2f}"
    assert rows[3][2:8] == (f"+0.20 ± {half}", f"open: {verdict.needed} seeds needed", *rows[3][4:5],
                            "0.938 (0.0625)", "0.60 [0.15, 0.95]", "0 of 5")  # fmt: skip
    assert rows[4][2:8] == (GAP, "", GAP, GAP, GAP, GAP)
    assert {row[9] for row in rows if row[0] == "sparsity 90 %"} == {"worse"}


def test_without_a_reference_the_table_tells_the_control_alone() -> None:
    board = board_of(network(), reference=None)

    assert findings.verdicts(board.networks[0])[0] == ("target", "entry", "to dense", "verdict on dense", "p to dense")
    assert findings.verdicts(board_of(cell("a", BASE)).networks[0]) == []


def test_the_table_of_curves(demo: Any) -> None:
    heads, *rows = findings.curves(demo.networks[0])

    assert heads == ("entry", "area, top-1 %", "compression at 1 point", "SynOps at 1 point", "seeds left out")
    assert [row[0] for row in rows] == ["a", "b", "magnitude"]
    area = sum(hits + 30 + hits for hits in BETTER) / 2 / 5 / 200
    assert rows[0][1].startswith(f"{100 * area:.2f} ± ")
    assert rows[1] == ("b", GAP, GAP, GAP, "0 1 2 3 4")
    assert findings.curves(board_of(cell("a", BASE)).networks[0]) == []


def test_a_board_of_few_networks_says_how_many_more_it_needs(demo: Any) -> None:
    assert prose.across(demo) == [
        "1 block (a data set with a network) with an area under accuracy: ranks are descriptive. 5 more are needed for "
        "a test across them, for fewer than 6 cannot reject at 5 %."
    ]
    assert findings.standing(demo) == findings.pairs(demo) == []
    assert prose.across(board_of(cell("a", BASE))) == []


def test_six_networks_are_ranked_and_tested(wide: Any) -> None:
    heads, *rows = findings.standing(wide)
    (pair,) = findings.pairs(wide)[1:]

    assert heads[:4] == ("entry", "mean rank", "mean area, top-1 %", "IQM of the dense accuracy, %")
    assert [row[:2] for row in rows] == [("a", "1.00"), ("magnitude", "2.00")]
    assert pair == ("a", "magnitude", "0.0312", "0.0312", "yes", "1.00 [0.54, 1.00]")
    told = prose.across(wide)
    assert told[0] == "Area under accuracy, with each network as a block: 6 blocks, 1 of 1 pairs apart."
    assert told[1] == f"Friedman's test (Iman and Davenport): F(1, 5) = infinite, p = {1 / 32:.3f}."
    assert "Without a value in every block" not in "".join(told)


def test_an_entry_alone_cannot_be_ranked() -> None:
    alone = board_of(*(network(f"set{i}")[:15] for i in range(6)))

    assert alone.across is None
    assert prose.across(alone) == [
        "6 blocks (a data set with a network) with an area under accuracy, and fewer than two entries that have one in "
        "each: nothing to rank."
    ]


def test_the_terminal_shows_all_of_it(demo: Any, wide: Any) -> None:
    text = board_text(demo)

    for line in (
        "#  entry           top-1 %  n       to dense  verdict    sparsity  SynOps  ratio",
        "Over all targets",
        "verdict: against magnitude at the same target, by Holm; same: within half a point; open: the seeds",
    ):
        assert line in text
    assert any(line.startswith("2  b ") and "open: " in line for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= 100
    assert "Across networks:" in text
    assert "mean rank" in board_text(wide)
    assert max(map(len, board_text(wide).splitlines())) <= 100


def test_the_power_line_tells_both_families(demo: Any) -> None:
    sampling, reference, control = prose.power(demo.networks[0])

    power = demo.networks[0].power[0]
    assert sampling.startswith("Sampling error: 200 test images")
    assert reference.startswith(
        f"Smallest difference that it could have seen: {100 * power.smallest:.2f} points to magnitude in one "
        f"comparison alone, {100 * power.strict:.2f} at the strictest level of its 3 (5 paired seeds"
    )
    assert reference.endswith(f"half a point needs {power.needed} seeds.")
    assert "points to the dense control" in control
    assert math.isfinite(power.strict)


def test_the_reading_names_the_reference(demo: Any) -> None:
    (told,) = [line for line in prose.reading(demo) if line.startswith("Verdict: ")]

    assert "against `magnitude` at the same target" in told
    assert not any(line.startswith("Verdict: ") for line in prose.reading(board_of(network(), reference=None)))
