"""Verdicts, curves and standings in Markdown and CSV, against the board's own figures and what is known by hand."""

import csv
import io
from typing import Any

import pytest

from synobench.board import SuiteFacts, build_board
from synobench.testing.records import make_record
from synobench_renderers.markdown import markdown
from synobench_renderers.tables import board_csv

FACTS = SuiteFacts("demo", "1.0", "?", "c", {"c": "n"}, reference={"name": "magnitude", "params": {}})
BASE = [150, 160, 154, 158, 148]
BETTER = [156, 165, 160, 165, 155]
NEAR = [152, 155, 158, 156, 151]


def network(name: str) -> list[Any]:
    hits = {("none", None): [190, 191, 189, 190, 192], ("a<b>|*", 0.9): BETTER, ("near", 0.9): NEAR}
    hits |= {("magnitude", 0.9): BASE, ("magnitude", 0.5): NEAR, ("a<b>|*", 0.5): BETTER}
    parts = {"a<b>|*": {"name": "a<b>|*", "params": {}}}
    return [
        make_record(parts.get(pruner, pruner), target, seed, hit, dataset=name)
        for (pruner, target), held in hits.items()
        for seed, hit in enumerate(held)
    ]


def board_of(*networks: str) -> Any:
    return build_board(FACTS, [r for name in networks for r in network(name)], {"c": lambda _: {"n": 10.0}})


@pytest.fixture(scope="module")
def demo() -> Any:
    return board_of("mnist")


def test_the_main_table_has_a_column_of_verdicts(demo: Any) -> None:
    lines = [line.replace("\xa0", " ") for line in markdown(demo).splitlines() if line.startswith("|")]
    needed = next(row.verdict.needed for row in demo.networks[0].rows if row.entry == "near")

    assert [cell.strip() for cell in lines[0].split("|")][7] == "verdict"
    (near,) = (line for line in lines if "| near | 77.20 ± " in line)
    assert f"| open: {needed} seeds needed |" in near
    assert any("| **80.10 ± " in line and "| better |" in line for line in lines)


def test_the_details_hold_the_verdicts_in_full(demo: Any) -> None:
    text = markdown(demo).replace("\xa0", " ")

    assert "**Against the reference and the dense control, in points**" in text
    assert (
        "| target | entry | to magnitude | verdict | p | sign-flip p (floor) | P(A &gt; B) | McNemar | to dense | "
        "verdict on dense | p to dense |"
    ) in text
    assert "| 0.0625 (0.0625) | 1.00 \\[0.48, 1.00\\] | 4 of 5 |" in text
    assert "**Over all targets**" in text
    assert "a<b>" not in text


def test_the_board_tells_what_it_lacks_across_networks(demo: Any) -> None:
    text = markdown(demo)

    assert "## Across networks\n\n- 1 block (a data set with a network) with an area under accuracy: ranks" in text
    wide = markdown(board_of(*(f"set{i}" for i in range(6))))
    assert "- Area under accuracy, with each network as a block: 6 blocks, 1 of 1 pairs apart." in wide
    assert "**Mean ranks, and secondary figures**" in wide
    assert "**Pair by pair**" in wide
    assert "| magnitude | 2.00 |" in wide


def test_the_csv_holds_each_comparison(demo: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(board_csv(demo))))
    row = next(r for r in rows if (r["entry"], r["target_value"]) == ("near", "0.9"))
    expected = next(r for r in demo.networks[0].rows if (r.entry, r.target.get("value")) == ("near", 0.9))

    assert (row["reference_verdict"], row["control_verdict"]) == ("open", "worse")
    verdict = expected.verdict
    for name, value in {
        "p": verdict.p,
        "adjusted": verdict.adjusted,
        "equivalence": verdict.equivalence,
        "needed": verdict.needed,
        "level": verdict.level,
        "difference_n": 5,
        "difference_mean": verdict.difference.mean,
        "difference_low": verdict.difference.low,
        "difference_high": verdict.difference.high,
        "sign_flip_p": 30 / 32,
        "sign_flip_floor": 1 / 16,
    }.items():
        assert float(row[f"reference_{name}"]) == pytest.approx(value, rel=1e-8), name
    assert float(row["control_p"]) == pytest.approx(expected.to_control.p, rel=1e-8)
    assert float(row["above_reference_probability"]) == 0.6
    assert float(row["above_reference_low"]) == pytest.approx(expected.superiority.low)
    reference = next(r for r in rows if (r["entry"], r["target_value"]) == ("magnitude", "0.9"))
    assert {v for k, v in reference.items() if k.startswith(("reference_", "above_"))} == {""}
    assert len({len(r) for r in rows}) == 1
