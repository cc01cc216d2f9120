"""Fixed formats: signs, prefixes, gaps, and text that cannot break a terminal."""

import re
import unicodedata
from typing import Any

import pytest

from synobench.board import figures
from synobench.stats import interval


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.004, "0.00"), (0.0, "0.00"), (-1.256, "\N{MINUS SIGN}1.26"), (1234.5, "1234.50"), (None, figures.GAP)],
)
def test_fixed_numbers(value: Any, text: Any) -> None:
    assert figures.fixed(value) == text


def test_signs_are_told_where_asked() -> None:
    assert [figures.fixed(v, sign=True) for v in (0.5, -0.5, 0.001)] == ["+0.50", "\N{MINUS SIGN}0.50", "0.00"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (0.123, "0.12"),
        (9.996, "10.0"),
        (99.96, "100"),
        (872.4, "872"),
        (999.4, "999"),
        (999.6, "1.00 k"),
        (1744, "1.74 k"),
        (123456, "123 k"),
        (2.5e6, "2.50 M"),
        (3e9, "3 G"),
        (4.56e13, "45.6 T"),
        (None, figures.GAP),
    ],
)
def test_quantities_have_three_digits(value: Any, text: Any) -> None:
    assert figures.quantity(value) == text


def test_percent_with_half_width() -> None:
    assert figures.percent(interval([0.98, 0.99])) == "98.50 ± 6.35"
    assert figures.percent(interval([0.98])) == "98.00"
    assert figures.percent(None) == figures.GAP


def test_figures_for_machines() -> None:
    assert [figures.exact(v) for v in (None, -0.0, 1 / 3, 12, 1e12)] == ["", "0", "0.333333333", "12", "1e+12"]


def test_text_stays_on_one_line_without_control_characters() -> None:
    told = figures.plain(" a\nb\t\x1b[31mc\u202e ")

    assert told == "a b \\x1b[31mc\\x202e"
    assert told.isprintable()


def test_seeds() -> None:
    assert (figures.seeds([3]), figures.seeds([0, 3])) == ("seed 3", "seeds 0, 3")


@pytest.mark.parametrize("text", [" a  b ", "a b", "a\u00a0b", "a\u2028b", "\ta\n", "a\x7f", "é ± 1", "", "  "])
def test_plain_text_has_single_blanks_and_no_control_character_however_it_was_written(text: str) -> None:
    blanks = re.sub(r"\s+", " ", text).strip()
    assert figures.plain(text) == "".join(
        c if unicodedata.category(c)[0] != "C" else f"\\x{ord(c):02x}" for c in blanks
    )
