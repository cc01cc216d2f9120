"""Measurements as plain data: figures with few digits, nulls for what is not finite, and a bound on their size."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synobench.errors import ContractError
from synobench.measurements import DIGITS, ROOM, figure, largest, misfit, rows, tidy
from synobench.store import canonical

TABLE: dict[str, Any] = {"by": ["a", "b"], "at": [1, 5], "values": [[0.5, 1.0], [2.0, 3.0]]}


@example(1.79765e308)
@given(st.floats())
def test_a_figure_is_finite_or_null_keeps_its_digits_and_is_the_same_again(value: float) -> None:
    told = figure(value)
    if not math.isfinite(value):
        assert told is None
        return
    assert told is not None
    assert told == pytest.approx(value, rel=10.0 ** (1 - DIGITS), abs=5e-324)
    assert figure(told) == told
    canonical(told)


def test_counts_stay_whole() -> None:
    assert figure(1_234_567) == 1_234_567
    assert isinstance(figure(1_234_567), int)


def test_what_is_not_finite_is_null_in_numbers_and_tables() -> None:
    broken = {**TABLE, "values": [[math.nan, 1 / 3], [-math.inf, None]]}
    told = tidy({"number": math.inf, "none": None, "table": broken}, 1000)
    assert told["number"] is told["none"] is None
    assert told["table"] == {**TABLE, "values": [[None, 0.33333], [None, None]]}
    assert largest(told["table"]) is None
    assert largest(TABLE) == 3.0
    assert list(rows(TABLE)) == [(1, [0.5, 1.0]), (5, [2.0, 3.0])]
    assert list(rows(0.5)) == list(rows(None)) == list(rows({"by": []})) == []


WRONG: dict[str, Any] = {
    "text": "0.5",
    "truth": True,
    "a list": [0.5],
    "a table without updates": {"by": ["a"], "values": [[1.0]]},
    "a table with more": {**TABLE, "unit": "s"},
    "no column": {"by": [], "at": [1], "values": [[]]},
    "one name twice": {**TABLE, "by": ["a", "a"]},
    "text for names": {**TABLE, "by": "ab"},
    "falling updates": {**TABLE, "at": [5, 1]},
    "half an update": {**TABLE, "at": [1, 1.5]},
    "an update before the first": {**TABLE, "at": [-1, 5]},
    "a short row": {**TABLE, "values": [[0.5, 1.0], [2.0]]},
    "a row too few": {**TABLE, "values": [[0.5, 1.0]]},
    "text in a row": {**TABLE, "values": [[0.5, "1.0"], [2.0, 3.0]]},
    "truth in a row": {**TABLE, "values": [[0.5, True], [2.0, 3.0]]},
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_what_is_no_measurement_is_refused_by_name(value: Any) -> None:
    assert misfit(value)
    with pytest.raises(ContractError, match="its measurement 'mine' "):
        tidy({"mine": value}, 1000)


def test_there_is_room_for_so_much_and_no_more() -> None:
    table = {"by": [f"layer {i}" for i in range(20)], "at": list(range(40)), "values": [[0.123456] * 20] * 40}
    with pytest.raises(ContractError, match=r"its measurements take \d,\d+ bytes; there is room for 1,024"):
        tidy({"mine": table}, ROOM["pruner"])
    assert tidy({"mine": table}, 10**5)
