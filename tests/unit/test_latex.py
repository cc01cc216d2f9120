"""Text as LaTeX sets it."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synobench.board.latex import escape, sentence

COMMAND = re.compile(
    r"\\(?:,|text(?:backslash|asciitilde|asciicircum|less|greater|bar|asciigrave|quote(?:dbl)?(?:left|right))\{\}|symbol\{34\}|allowbreak\{\}"
    r"|(?:dots|S|ss|o|O|ae|AE|oe|l|L|i)\{\}|[{}#$%&_]|[`'^~=.\"urHvc]\{(?:[A-Za-z]|\\[ij])\})"
    r"|\$(?:-|\\pm|\\times|\\leq|\\geq|\\approx|\\sum|\\cdot|\\to|\^\\circ|\\[a-zA-Z]+)\$"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("50%_off", r"50\%\_off"),
        ("a & b # c $d$ {e}", r"a \& b \# c \$d\$ \{e\}"),
        (r"\input{x}~^", r"\textbackslash{}input\{x\}\textasciitilde{}\textasciicircum{}"),
        ("<script>", r"\textless{}script\textgreater{}"),
        ("a--b ''", "a-{}-b '{}'"),
        ("±0.5 \N{MULTIPLICATION SIGN} \N{MINUS SIGN}3", r"$\pm$0.5 $\times$ $-$3"),
        ("τ Ω λ Λ", r"$\tau$ $\Omega$ $\lambda$ $\Lambda$"),
        ("Gonçalves, Øyvind, Jíří", r"Gon\c{c}alves, \O{}yvind, J\'{\i}\v{r}\'{\i}"),
        ("中", "U+4E2D"),
        ("\N{LATIN SMALL LETTER A WITH OGONEK}", "U+0105"),
        ("two\nlines\x07", r"two lines\textbackslash{}x07"),
        ("[1] *", "{}[1] *"),
        ("* [1]", "{}* [1]"),
        ("", ""),
    ],
)
def test_text_is_set_as_it_reads(text: Any, told: Any) -> None:
    assert escape(text) == told


def test_long_names_may_be_broken() -> None:
    assert escape("a[b=1,c=x]", breaks=True).replace(r"\allowbreak{}", "|") == "a[|b=|1,|c=|x]|"


def test_code_spans_are_set_as_code() -> None:
    assert sentence("the control `no_ne`, 5 %") == r"the control \texttt{no\_ne}, 5\,\%"
    assert sentence("an odd ` one") == r"an odd \textasciigrave{} one"


@given(st.text(max_size=60))
def test_nothing_but_known_commands_and_plain_letters_is_left(text: Any) -> None:
    for told in (escape(text), escape(text, breaks=True)):
        rest = COMMAND.sub("", told)
        assert rest.isascii()
        assert not set('\\~^<>|"`#$%&_') & set(rest)
        assert "--" not in rest
        assert "\n" not in rest
