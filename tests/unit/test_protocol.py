"""The text of a suite: every field is checked, and a mistake is one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from synobench.errors import BenchError
from synobench.protocol import Network, parse


def test_a_suite_is_read(suite_text: Callable[..., str]) -> None:
    found = parse(suite_text(seeds=[3, 1], values=[0.5, 1], more="tune = 'still'\nneuron = 'fused[tau=3]'"))
    network = Network(
        dataset="digits",
        model="mlp-300-150-10[widths=12]",
        rule="backprop[rate=0.1]",
        train_epochs=2,
        tune_epochs=1,
        batch=128,
        tune="still",
        neuron="fused[tau=3]",
    )
    assert (found.name, found.version, found.seeds, found.pruners) == ("tiny", "1.0", (3, 1), ("magnitude",))
    assert found.targets == ({"name": "sparsity", "value": 0.5}, {"name": "sparsity", "value": 1.0})
    assert found.networks == (network,)
    assert (found.counters, found.metrics) == ((), ())
    assert (network.precision, network.threads, network.label) == ("float32", 1, "digits/mlp-300-150-10[widths=12]")


def test_a_synops_target_names_its_counter(suite_text: Callable[..., str]) -> None:
    (target,) = parse(suite_text(target="synops", counter='counter = "fanout"')).targets
    assert target == {"name": "synops", "value": 0.5, "counter": "fanout"}


def test_no_fine_tuning_and_no_targets_are_allowed(suite_text: Callable[..., str]) -> None:
    text = suite_text(tune=0, pruners=["none"])
    head, _, rest = text.partition("[[targets]]")
    networks = rest[rest.index("[[networks]]") :]
    found = parse(head + networks)
    assert (found.targets, found.networks[0].tune_epochs) == ((), 0)


MISTAKES = [
    ({"seeds": ["0"]}, "a seed of demo must be a whole number of 0 or more, not '0'"),
    ({"seeds": "[true]"}, "a seed of demo must be a whole number of 0 or more, not True"),
    ({"seeds": [-1]}, "a seed of demo must be a whole number of 0 or more, not -1"),
    ({"seeds": [1.0]}, "a seed of demo must be a whole number of 0 or more, not 1.0"),
    ({"seeds": 3}, "demo needs 'seeds' as a list, not 3"),
    ({"seeds": []}, "demo needs at least one of 'seeds'"),
    ({"pruners": '"none"'}, "demo needs 'pruners' as a list, not 'none'"),
    ({"pruners": [3]}, "pruners of demo must be text, not 3"),
    ({"pruners": []}, "demo needs at least one of 'pruners'"),
    ({"values": ["0.5"]}, "targets of demo: '0.5' is not a fraction between 0 and 1"),
    ({"values": "[nan]"}, "targets of demo: nan is not a fraction between 0 and 1"),
    ({"values": "[inf]"}, "targets of demo: inf is not a fraction between 0 and 1"),
    ({"values": "[true]"}, "targets of demo: True is not a fraction between 0 and 1"),
    ({"values": [90]}, "targets of demo: 90 is not a fraction between 0 and 1"),
    ({"values": [-0.1]}, "targets of demo: -0.1 is not a fraction between 0 and 1"),
    ({"values": 0.5}, "targets of demo needs 'values' as a list, not 0.5"),
    ({"values": []}, "targets of demo needs at least one of 'values'"),
    ({"target": "sparsty"}, "targets of demo: 'sparsty' is not sparsity, parameters or synops"),
    ({"target": "synops"}, "targets of demo: synops needs 'counter' as text"),
    ({"counter": "cuonter = 'dense'"}, "targets of demo has no field 'cuonter' (did you mean 'counter'?)"),
    ({"train": 0}, "train_epochs in networks of demo must be a whole number of 1 or more, not 0"),
    ({"train": 1.5}, "train_epochs in networks of demo must be a whole number of 1 or more, not 1.5"),
    ({"train": "true"}, "train_epochs in networks of demo must be a whole number of 1 or more, not True"),
    ({"tune": -1}, "tune_epochs in networks of demo must be a whole number of 0 or more, not -1"),
    ({"batch": 0}, "batch in networks of demo must be a whole number of 1 or more, not 0"),
    ({"batch": '"64"'}, "batch in networks of demo must be a whole number of 1 or more, not '64'"),
    ({"more": "threads = 0"}, "threads in networks of demo must be a whole number of 1 or more, not 0"),
    ({"more": "precision = 'float8'"}, "networks of demo: precision 'float8' is not one of float32, bfloat16, float16"),
    ({"more": "tune = 3"}, "networks of demo needs 'tune' as text, not 3"),
    ({"more": "epochs = 3"}, "networks of demo has no field 'epochs' (did you mean 'tune_epochs'?)"),
    ({"model": ""}, "networks of demo needs 'model' as text, not ''"),
]


@pytest.mark.parametrize(("fields", "told"), MISTAKES, ids=[str(f) for f, _ in MISTAKES])
def test_a_mistake_is_told_in_one_line(fields: dict[str, object], told: str, suite_text: Callable[..., str]) -> None:
    with pytest.raises(BenchError) as caught:
        parse(suite_text(**fields), "demo")
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('name = "tiny"', 'name = "../up"', "the name '../up' of demo is not made of letters"),
        ('name = "tiny"', 'name = "a/b"', "the name 'a/b' of demo"),
        ('name = "tiny"', "", "demo needs 'name' as text"),
        ('version = "1.0"', "version = 1.0", "demo needs 'version' as text, not 1.0"),
        ('counter = "effective"', "", "demo needs 'counter' as text"),
        ('counter = "effective"', "counter = 'e'\nmetrics = 'top1'", "demo needs 'metrics' as a list, not 'top1'"),
        ('counter = "effective"', "counter = 'e'\ncounters = [1]", "counters of demo must be text, not 1"),
        ('question = "Does it run?"', "qestion = 'x'", "demo has no field 'qestion' (did you mean 'question'?)"),
        ("[[networks]]", "[networks]", "demo needs 'networks' as a list, not "),
        ("[[targets]]", "[targets]", "demo needs 'targets' as a list, not "),
        ("batch = 128", "", "networks of demo lack batch"),
        ('dataset = "digits"', "", "networks of demo needs 'dataset' as text"),
        ("seeds = [0]", "seeds = [0", "demo is not valid TOML"),
    ],
)
def test_a_field_that_is_not_right_is_told(old: str, new: str, told: str, suite_text: Callable[..., str]) -> None:
    text = suite_text()
    assert old in text
    with pytest.raises(BenchError) as caught:
        parse(text.replace(old, new, 1), "demo")
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_networks_must_be_tables(suite_text: Callable[..., str]) -> None:
    text = suite_text()
    with pytest.raises(BenchError, match=r"demo needs 'networks' as tables, each under \[\[networks\]\]"):
        parse("networks = [1]\n" + text[: text.index("[[networks]]")], "demo")
