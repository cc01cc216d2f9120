"""The text of a suite: every field is checked, and a mistake is one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from synobench.errors import BenchError
from synobench.protocol import Network, Published, parse


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


def several(rules: str, **more: object) -> dict[str, object]:
    return {"train": f"2\nrules = {rules}", **more}


def without_rule(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("rule = "))


def test_several_rules_are_networks_of_their_own(suite_text: Callable[..., str]) -> None:
    text = suite_text()
    many = without_rule(suite_text(**several('["backprop[rate=0.1]", "backprop[rate=0.2]"]')))
    assert [n.rule for n in parse(many).networks] == ["backprop[rate=0.1]", "backprop[rate=0.2]"]
    assert parse(many).networks[0] == parse(text).networks[0]
    assert parse(many).versus == "pruner"
    named = without_rule(suite_text(**several('{ BP = "backprop[rate=0.1]", "twice" = "backprop[rate=0.2]" }')))
    found = parse(named.replace("seeds =", 'versus = "rule"\nreference = "twice"\nseeds =', 1))
    assert [(n.entry, n.rule) for n in found.networks] == [
        ("BP", "backprop[rate=0.1]"),
        ("twice", "backprop[rate=0.2]"),
    ]
    assert (found.versus, found.reference) == ("rule", "twice")
    assert parse(named.replace("seeds =", 'versus = "rule"\nseeds =', 1)).reference == "backprop"


@pytest.mark.parametrize(
    ("rules", "head", "told"),
    [
        ('["a"]', "", "networks of demo: 'rule' and 'rules' exclude each other"),
        ("[]", "alone", "networks of demo need 'rules' as a list of rules or a table of name and rule, not []"),
        ('"a"', "alone", "networks of demo need 'rules' as a list of rules or a table of name and rule, not 'a'"),
        ("[3]", "alone", "rules in networks of demo must be text, not 3"),
        ('["a", "a"]', "alone", "rules in networks of demo hold 'a' twice"),
        ('{ A = "a", B = "a" }', "alone", "rules in networks of demo hold 'a' twice"),
        ('{ A = "a" }', "alone", "demo calls a rule 'A': rules have names where versus = 'rule'"),
        ('["a"]', 'versus = "rules"', "demo: versus 'rules' is not one of pruner, rule"),
        ('["a"]', "versus = 3", "demo needs 'versus' as text, not 3"),
        (
            '["backprop[rate=0.1]"]',
            'versus = "rule"\nreference = "magnitude"',
            "the reference 'magnitude' of demo is none of its rules",
        ),
    ],
)
def test_rules_that_cannot_be_are_told(rules: str, head: str, told: str, suite_text: Callable[..., str]) -> None:
    text = suite_text(**several(rules))
    if head:
        text = without_rule(text)
        text = text if head == "alone" else text.replace("seeds =", f"{head}\nseeds =", 1)
    with pytest.raises(BenchError) as caught:
        parse(text, "demo")
    assert str(caught.value).startswith(told)


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


RELEASED = """
name = "demo"
version = "1.0"
question = "?"
counter = "effective"
seeds = [0]
pruners = ["none"]
{published}
[[networks]]
{network}
batch = 64
"""


def on_checkpoint(network: str = "checkpoint = 'net'\ntune_epochs = 0", published: str = "") -> str:
    return RELEASED.format(network=network, published=published)


def test_a_checkpoint_stands_in_the_place_of_data_model_and_training() -> None:
    (network,) = parse(on_checkpoint(), "demo").networks
    assert network == Network(checkpoint="net", tune_epochs=0, batch=64)
    assert network.label == "net"
    tuned = "checkpoint = 'net'\ntune = 'backprop'\ntune_epochs = 2"
    (network,) = parse(on_checkpoint(tuned), "demo").networks
    assert (network.tune, network.tune_epochs, network.rule) == ("backprop", 2, "")


def test_a_network_may_have_pruners_and_targets_of_its_own() -> None:
    own = "checkpoint = 'net'\ntune_epochs = 0\npruners = ['random']\n"
    own += "targets = [{ name = 'sparsity', values = [0.98] }, { name = 'parameters', values = [0.5] }]"
    (network,) = parse(on_checkpoint(own), "demo").networks
    assert network.pruners == ("random",)
    assert network.targets == ({"name": "sparsity", "value": 0.98}, {"name": "parameters", "value": 0.5})


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ("checkpoint = 'net'", "networks of demo lack tune_epochs"),
        ("checkpoint = 'net'\ntune_epochs = 1", "networks of demo needs 'tune' as text"),
        ("checkpoint = 'net'\ntune_epochs = 0\nrule = 'backprop'", "'rule' is the checkpoint's own; leave it out"),
        (
            "checkpoint = 'net'\ntune_epochs = 0\ntrain_epochs = 3",
            "'train_epochs' is the checkpoint's own; leave it out",
        ),
        ("checkpoint = 3\ntune_epochs = 0", "networks of demo needs 'checkpoint' as text, not 3"),
        ("checkpoint = 'net'\ntune_epochs = 0\ntune = ''", "networks of demo needs 'tune' as text, not ''"),
        ("checkpoint = 'net'\ntune_epochs = 0\npruners = 'none'", "networks of demo needs 'pruners' as a list"),
        ("checkpoint = 'net'\ntune_epochs = 0\npruners = [3]", "pruners in networks of demo must be text, not 3"),
        ("checkpoint = 'net'\ntune_epochs = 0\ntargets = [0.5]", "networks of demo needs 'targets' as tables"),
        (
            "checkpoint = 'net'\ntune_epochs = 0\ntargets = [{ name = 'sparsity', values = [98] }]",
            "targets in networks of demo: 98 is not a fraction between 0 and 1",
        ),
        ("dataset = 'digits'\nmodel = 'm'\nrule = 'r'\ntune_epochs = 0", "networks of demo lack train_epochs"),
    ],
)
def test_a_mistaken_network_is_one_line(network: str, told: str) -> None:
    with pytest.raises(BenchError, match=told) as found:
        parse(on_checkpoint(network), "demo")
    assert "\n" not in str(found.value)


FIGURES = {
    "source": "'Key2023'",
    "network": "'net'",
    "entry": "'magnitude'",
    "targets": "[{ name = 'sparsity', values = [0.9, 0.98] }]",
    "values": "[90.30, 32]",
}


def published(**fields: str | None) -> str:
    told = {name: value for name, value in {**FIGURES, **fields}.items() if value is not None}
    return on_checkpoint(published="published = [{" + ", ".join(f"{n} = {v}" for n, v in told.items()) + "}]")


def test_published_figures_are_read_target_by_target() -> None:
    one, other = parse(published(errors="[0.1, 1.19]", note="'as recalled'"), "demo").published
    aim = {"name": "sparsity", "value": 0.9}
    assert one == Published("Key2023", "net", "magnitude", aim, 90.3, 0.1, "as recalled")
    assert (other.target["value"], other.value, other.error) == (0.98, 32.0, 1.19)
    assert parse(published(), "demo").published[0].error is None


def test_without_targets_a_published_figure_is_the_dense_networks() -> None:
    (dense,) = parse(published(targets=None, values="[91.36]", entry="'none'"), "demo").published
    assert (dense.target, dense.value) == ({"name": "none"}, 91.36)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"source": None}, "published of demo needs 'source' as text"),
        ({"entry": "3"}, "published of demo needs 'entry' as text, not 3"),
        ({"note": "3"}, "published of demo needs 'note' as text, not 3"),
        ({"network": "'nat'"}, r"published of demo: no network is labelled 'nat' \(did you mean 'net'\?\)"),
        ({"values": "[90.3]"}, "published of demo: 2 targets, 1 values, 0 errors do not match"),
        ({"errors": "[1.0]"}, "published of demo: 2 targets, 2 values, 1 errors do not match"),
        ({"values": "[90.3, 101]"}, "published of demo: values: 101 is not a figure between 0 and 100"),
        ({"values": "[90.3, nan]"}, "published of demo: values: nan is not a figure between 0 and 100"),
        ({"errors": "[-1, 1]"}, "published of demo: errors: -1 is not a figure between 0 and 100"),
        ({"values": None}, "published of demo needs at least one of 'values'"),
        ({"targets": "[0.9]"}, "published of demo needs 'targets' as tables"),
        ({"value": "3"}, r"published of demo has no field 'value' \(did you mean 'values'\?\)"),
    ],
)
def test_a_mistaken_table_of_figures_is_one_line(fields: dict[str, str | None], told: str) -> None:
    with pytest.raises(BenchError, match=f"^{told}") as found:
        parse(published(**fields), "demo")
    assert "\n" not in str(found.value)
