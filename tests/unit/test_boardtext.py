"""A board on a terminal: what it says, and that it fits."""

from typing import Any

import pytest

from synobench.board import SuiteFacts, build_board
from synobench.board.figures import GAP, amount
from synobench.board.text import board_text
from synobench.testing.records import make_failure, make_inputs, make_record, make_records

MEANS = {"magnitude[scope=global]": (188, 150), "random": (170, 80)}
NETWORKS = [("digits", "mlp-300-150-10"), ("fashion-mnist", "snn-conv"), ("mnist", "snn-conv")]
PLACE = {"dataset": NETWORKS[0][0], "model": NETWORKS[0][1]}


def effective(ledger: Any) -> Any:
    return {"total": sum(layer.effective for layer in ledger.layers) / ledger.samples}


def board_of(records: Any, plan: Any = (), **facts: Any) -> Any:
    suite = SuiteFacts(
        **{"name": "demo", "version": "1.0", "question": "Which?", **facts},
        counter="effective",
        headlines={"effective": "total"},
        plan=plan,
    )
    return build_board(suite, records, {"effective": effective})


def line_of(text: Any, *words: Any) -> Any:
    return next(line for line in text.splitlines() if all(word in line for word in words))


@pytest.fixture(scope="module")
def text() -> Any:
    records = [*make_records(MEANS, (0.5, 0.9), range(5), NETWORKS), make_failure("random", 0.9, 5, **PLACE)]
    records += [make_record("obd", 0.9, 0, 160, sparsity=0.8, dataset="mnist")]
    return board_text(board_of(records, [make_inputs("random", 0.9, 5, **PLACE)]))


def test_it_fits_a_hundred_columns_and_ends_in_one_line_feed(text: Any) -> None:
    assert max(map(len, text.splitlines())) <= 100
    assert text.endswith("seeds.\n")
    assert all(line == line.rstrip() for line in text.splitlines())


def test_it_fits_though_names_are_long() -> None:
    records = list(make_records({"pruner-" + "x" * 90: (150, 120), "y": (50, 20)}, (0.5, 0.9), networks=NETWORKS))
    told = board_text(board_of(records, question="why " * 60))

    assert max(map(len, told.splitlines())) <= 100
    assert "…" in told
    assert line_of(told, "pruner-").count(" ± ") == 2


def test_every_network_is_there(text: Any) -> None:
    assert [line for line in text.splitlines() if " / " in line and not line.startswith(" ")] == [
        f"{dataset} / {model}" for dataset, model in NETWORKS
    ]


def test_rows_say_their_figures_and_marks(text: Any) -> None:
    assert line_of(text, "random").split()[0] == "2"
    unranked = line_of(text, "obd", "80.00")
    assert unranked.startswith(GAP)
    assert unranked.endswith("f!")
    assert line_of(text, "none").split()[-1] == "1.000"


def test_gaps_failures_and_chance_are_told(text: Any) -> None:
    assert "  random, sparsity 90 %: seed 5" in text.splitlines()
    assert "synobench_magnitude failed at prune: no finite score" in " ".join(text.split())
    assert text.count("Sampling error: 200 test images alone give ±") == 3
    assert text.count("Smallest difference that it could have seen:") == 3


def test_an_empty_board_says_so() -> None:
    assert "No run, and none planned." in board_text(board_of([]))


def test_escape_sequences_do_not_reach_the_terminal() -> None:
    record = make_record({"name": "a\x1b[31m", "params": {}}, 0.9, 0, 150)

    assert "\x1b" not in board_text(board_of([record], question="\x1b]0;title\x07?"))


def test_the_figures_of_further_counters_stand_in_a_table_of_their_own() -> None:
    board = board_of([make_record("none", None, 0), make_record("random", 0.9, 0)])
    told = board_text(board, more=["effective"])

    assert line_of(told, "target", "entry", "effective")
    row = board.networks[0].rows[-1]
    assert line_of(told, "sparsity 90 %", "random").split()[-1] in amount(row.synops).split()
    assert "target  " not in board_text(board)
