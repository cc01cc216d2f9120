"""Parameters: text <-> dataclass <-> schema."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synobench.errors import BenchError
from synobench.params import NoParams, as_dict, as_text, param, parse_spec, resolve, schema


@dataclass(frozen=True)
class Many:
    rate: float = param(0.1, low=0.0, high=10.0, doc="a float")
    count: int = param(3, low=1, high=2**60, doc="an int")
    flag: bool = param(False, doc="a bool")
    mode: str = param("slow", choices=("slow", "fast"), doc="a choice")
    widths: tuple[int, ...] = param((300, 150), low=1, doc="a list")
    spread: float | None = param(None, low=0.0, doc="an option")
    names: tuple[str, ...] = param((), doc="texts")
    note: str = param("", doc="a text")


@dataclass(frozen=True)
class Needy:
    path: str = param(doc="where it lies")


@dataclass(frozen=True)
class Whole:
    rate: float = param(0, doc="its default is written as a whole number")


def spec(text: str, kind: type = Many) -> Any:
    name, overrides = parse_spec(text)
    return resolve(kind, overrides, name)


finite = st.floats(0.0, 10.0, allow_nan=False)
words = st.text(st.characters(whitelist_categories=("Ll", "Nd")), min_size=1, max_size=5).filter(lambda w: w != "none")
values = st.fixed_dictionaries(
    {},
    optional={
        "rate": finite,
        "count": st.integers(1, 2**60),
        "flag": st.booleans(),
        "mode": st.sampled_from(["slow", "fast"]),
        "widths": st.lists(st.integers(1, 999), max_size=4).map(tuple),
        "spread": st.none() | finite,
        "names": st.lists(words, max_size=3).map(tuple),
        "note": words,
    },
)


@given(values)
def test_text_and_dataclass_round_trip(chosen: dict[str, Any]) -> None:
    built = resolve(Many, chosen, "many")
    told = as_dict(built)
    assert spec(as_text("many", Many, told)) == built
    assert resolve(Many, json.loads(json.dumps(told)), "many") == built


@given(values)
def test_the_text_tells_only_what_is_not_usual(chosen: dict[str, Any]) -> None:
    built = resolve(Many, chosen, "many")
    told = set(parse_spec(as_text("many", Many, as_dict(built)))[1])
    assert told == {n for n in as_dict(built) if getattr(built, n) != getattr(Many(), n)}


@given(values)
def test_what_resolves_fits_its_schema(chosen: dict[str, Any]) -> None:
    told = as_dict(resolve(Many, chosen, "many"))
    kinds = {"number": float, "integer": int, "boolean": bool, "string": str, "array": list}
    for name, facts in schema(Many)["properties"].items():
        value = told[name]
        assert (value is None and name == "spread") or type(value) is kinds[facts["type"]]
        items = value if isinstance(value, list) else [value]
        assert all(i >= facts["minimum"] for i in items if "minimum" in facts and i is not None)
        assert value in facts.get("enum", [value])


def test_the_schema_tells_bounds_choices_defaults_and_what_is_needed() -> None:
    told = schema(Many)["properties"]
    assert told["rate"] == {"type": "number", "default": 0.1, "minimum": 0.0, "maximum": 10.0, "description": "a float"}
    assert told["mode"]["enum"] == ["slow", "fast"]
    assert told["widths"]["default"] == [300, 150]
    assert told["spread"]["default"] is None
    assert schema(Many)["required"] == []
    assert schema(Needy)["required"] == ["path"]
    assert schema(Many)["additionalProperties"] is False
    json.dumps(schema(Many), allow_nan=False)


@pytest.mark.parametrize("text", ["many", "many[]", "many[ rate = 0.1 ]", " many "])
def test_spaces_and_empty_brackets_are_let_pass(text: str) -> None:
    assert spec(text) == Many()


@pytest.mark.parametrize("text", ["", "[rate=1]", "many[rate]", "many[rate=1", "many[rate=1,rate=2]", "a[b]c"])
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(BenchError) as caught:
        spec(text)
    assert "\n" not in str(caught.value)


def test_lists_are_written_with_slashes_and_none_by_its_name() -> None:
    built = spec("many[widths=300/150/7,spread=none,names=a/b]")
    assert (built.widths, built.spread, built.names) == ((300, 150, 7), None, ("a", "b"))
    assert spec("many[widths=]").widths == ()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"rat": 1}, "many has no parameter 'rat' (did you mean 'rate'?)"),
        ({"count": True}, "many[count] must be of type int, not True"),
        ({"count": 1.5}, "many[count] must be of type int, not 1.5"),
        ({"count": "1.5"}, "many[count] must be of type int, not '1.5'"),
        ({"rate": float("nan")}, "many[rate] must be of type float, not nan"),
        ({"rate": "inf"}, "many[rate] must be of type float, not 'inf'"),
        ({"rate": 10**400}, "many[rate] must be of type float"),
        ({"rate": True}, "many[rate] must be of type float, not True"),
        ({"rate": None}, "many[rate] must be of type float, not None"),
        ({"flag": "yes"}, "many[flag] must be of type bool, not 'yes'"),
        ({"flag": 1}, "many[flag] must be of type bool, not 1"),
        ({"note": None}, "many[note] must be of type str, not None"),
        ({"note": 5}, "many[note] must be of type str, not 5"),
        ({"widths": 16}, "many[widths] must be a list like 1/2/3, not 16"),
        ({"widths": "3/x"}, "many[widths] must be of type int, not 'x'"),
        ({"widths": [3, 0]}, "many[widths]=0 is below its least value, 1"),
        ({"rate": -0.5}, "many[rate]=-0.5 is below its least value, 0.0"),
        ({"rate": 11}, "many[rate]=11.0 is above its greatest value, 10.0"),
        ({"spread": -1}, "many[spread]=-1.0 is below its least value, 0.0"),
        ({"mode": "fats"}, "many[mode]=fats is not one of slow, fast"),
    ],
)
def test_wrong_values_are_told_in_one_line(overrides: dict[str, Any], told: str) -> None:
    with pytest.raises(BenchError) as caught:
        resolve(Many, overrides, "many")
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_bounds_are_inclusive() -> None:
    assert resolve(Many, {"rate": 10.0, "count": 1}, "many").rate == 10.0
    assert resolve(Many, {"rate": 0.0}, "many").rate == 0.0


def test_a_needed_one_is_asked_for() -> None:
    with pytest.raises(BenchError, match="needy needs a value for 'path': where it lies"):
        resolve(Needy, {}, "needy")
    assert resolve(Needy, {"path": "here"}, "needy").path == "here"


def test_a_default_and_the_same_value_given_are_the_same_data() -> None:
    usual, given_ = (json.dumps(as_dict(resolve(Whole, o, "whole"))) for o in ({}, {"rate": "0"}))
    assert usual == given_ == '{"rate": 0.0}'
    assert as_text("whole", Whole, {"rate": 0.0}) == "whole"


def test_a_default_is_held_to_its_own_bounds() -> None:
    @dataclass(frozen=True)
    class Wrong:
        count: int = param(0, low=1, doc="a wrong default")

    # The hints of a class inside a function cannot be looked up as text.
    Wrong.__annotations__["count"] = int
    with pytest.raises(BenchError, match="below its least"):
        resolve(Wrong, {}, "wrong")


def test_what_a_dataclass_itself_refuses_is_one_line() -> None:
    @dataclass(frozen=True)
    class Picky:
        low: int = param(1, doc="below high")

        def __post_init__(self) -> None:
            raise ValueError("low must lie\nbelow high")

    Picky.__annotations__["low"] = int
    with pytest.raises(BenchError, match=r"^picky cannot be made: low must lie below high$"):
        resolve(Picky, {"low": 9}, "picky")


def test_a_default_factory_is_used() -> None:
    @dataclass(frozen=True)
    class Made:
        sizes: tuple[int, ...] = field(default_factory=lambda: (1, 2))

    Made.__annotations__["sizes"] = tuple[int, ...]
    assert as_dict(resolve(Made, {}, "made")) == {"sizes": [1, 2]}


def test_no_parameters_take_none() -> None:
    with pytest.raises(BenchError, match=r"none has no parameter 'x' \(none is known\)"):
        resolve(NoParams, {"x": 1}, "none")
    assert as_text("none", NoParams, {}) == "none"
