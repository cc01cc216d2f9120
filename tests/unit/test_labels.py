"""The shortest names that tell things apart."""

from typing import Any

import pytest

from synobench.board.labels import full_text, setting_labels, setting_of, short_labels, target_order, target_text
from synobench.testing.records import make_inputs


def entry(name: Any, **params: Any) -> Any:
    return {"name": name, "params": params}


def labelled(*parts: Any) -> Any:
    return list(short_labels(parts).values())


def test_a_parameter_is_told_where_it_differs() -> None:
    found = labelled(entry("magnitude", scope="global", x=1), entry("magnitude", scope="layer", x=1), entry("obd", y=2))

    assert found == ["magnitude[scope=global]", "magnitude[scope=layer]", "obd"]


def test_a_parameter_that_one_lacks_is_told() -> None:
    assert labelled(entry("a", k=1), entry("a")) == ["a[k=1]", "a"]


def test_full_text_tells_everything_but_the_usual_pattern() -> None:
    model = {"name": "net", "params": {"width": 16, "blocks": [1, 2]}, "prunable": ["*"]}

    assert full_text(model) == "net[blocks=1/2,width=16]"
    assert full_text({**model, "prunable": ["fc*"]}) == "net[blocks=1/2,prunable=fc*,width=16]"


def test_one_setting_needs_no_label() -> None:
    assert list(setting_labels([setting_of(make_inputs())]).values()) == [""]


def test_settings_are_told_by_what_differs() -> None:
    budget = {"train_epochs": 3, "tune_epochs": 1, "batch": 64, "precision": "float32", "threads": 2}
    stdp = {"name": "stdp", "params": {"rate": 0.1}}
    others = [make_inputs(), make_inputs(budget=budget), make_inputs(rule=stdp, tune=stdp)]

    found = list(setting_labels(map(setting_of, others)).values())

    assert found == [
        "rule=backprop, budget[threads=1]",
        "rule=backprop, budget[threads=2]",
        "rule=stdp, budget[threads=1]",
    ]


def test_tuning_is_told_where_it_is_not_the_rule() -> None:
    other = make_inputs(tune={"name": "stdp", "params": {}})

    assert list(setting_labels(map(setting_of, [make_inputs(), other])).values()) == ["tune=backprop", "tune=stdp"]


def test_the_seed_of_a_parent_makes_no_setting() -> None:
    assert setting_of(make_inputs(seed=0)) == setting_of(make_inputs(seed=1))


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ({"name": "none"}, "no target"),
        ({"name": "sparsity", "value": 0.98}, "sparsity 98 %"),
        ({"name": "parameters", "value": 0.125}, "parameters 12.5 %"),
        ({"name": "synops", "value": 0.5, "counter": "fanout"}, "SynOps 50 % (fanout)"),
        ({"name": "odd"}, "odd"),
    ],
)
def test_targets_for_people(target: Any, text: Any) -> None:
    assert target_text(target) == text


def test_targets_go_from_gentle_to_harsh() -> None:
    targets = [
        {"name": "none"},
        {"name": "sparsity", "value": 0.5},
        {"name": "sparsity", "value": 0.9},
        {"name": "parameters", "value": 0.5},
        {"name": "parameters", "value": 0.1},
        {"name": "synops", "value": 0.9, "counter": "a"},
        {"name": "odd", "value": 1},
    ]

    assert sorted([*targets[3:], *targets[:3]], key=target_order) == targets
