"""Cells and their keys: what is identity, and what is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synobench import NeuronEntry, Rebuild, hookimpl, param
from synobench import registry as registries
from synobench.errors import BenchError
from synobench.registry import Registry
from synobench.store import canonical, key_of
from synobench.suite import PROTOCOL, Cell, cells, in_parts, parse, target_text, with_pruners

Cells = Callable[..., list[Cell]]

GOLDEN = Path(__file__).parents[1] / "golden" / "keys.json"
"""A change of these is a change of identity: no stored record of that shape belongs to its suite any longer."""


def keys(found: list[Cell]) -> dict[str, str]:
    return {cell.label: cell.key for cell in found}


def parents(found: list[Cell]) -> set[str]:
    return {cell.parent_key for cell in found}


def test_several_rules_are_cells_of_their_own_under_the_keys_of_each_alone(
    suite_text: Callable[..., str], tiny_registry: Registry
) -> None:
    def text(rules: str, head: str = "") -> str:
        lines = suite_text(pruners=["none", "magnitude"], more=rules).splitlines()
        return head + "\n".join(line for line in lines if line != 'rule = "backprop[rate=0.1]"')

    specs = ("backprop[rate=0.1]", "backprop[rate=0.2]")
    alone = [cells(parse(text(f"rule = '{spec}'")), tiny_registry)[0] for spec in specs]
    both = cells(parse(text(f"rules = {list(specs)}")), tiny_registry)[0]
    assert [cell.key for cell in both] == [cell.key for found in alone for cell in found]
    assert len({cell.parent_key for cell in both}) == 2
    assert len({cell.label for cell in both}) == len(both)
    assert all(cell.inputs["tune"] == cell.inputs["rule"] for cell in both)
    named = text(f"rules = {{ slow = '{specs[0]}', fast = '{specs[1]}' }}", 'versus = "rule"\n')
    assert keys(cells(parse(named), tiny_registry)[0]) == keys(both)


def test_golden_keys(suite_cells: Cells) -> None:
    found = [
        *suite_cells(pruners=["none", "magnitude-threshold[threshold=0.01]"], model="snn-conv[width=2]"),
        *suite_cells(target="synops", counter='counter = "effective"', model="mlp-300-150-10", seeds=[3]),
    ]
    told = {c.label: {"key": c.key, "parent": c.parent_key, "inputs": canonical(c.inputs)} for c in found}
    for facts in told.values():
        assert facts["key"] == hashlib.sha256(facts["inputs"].encode()).hexdigest()
    # To change them on purpose: print(json.dumps(told, indent=1))
    assert told == json.loads(GOLDEN.read_text())


def test_a_key_is_that_of_its_inputs_and_a_parents_that_of_its_own(suite_cells: Cells) -> None:
    for cell in suite_cells(pruners=["none", "magnitude", "early"]):
        assert cell.key == key_of(cell.inputs)
        assert cell.parent_key == key_of(cell.parent)
        assert json.loads(json.dumps(cell.inputs)) == cell.inputs


def test_the_inputs_hold_what_a_record_needs(suite_cells: Cells) -> None:
    (cell,) = suite_cells(more="tune = 'still'", seeds=[7])
    assert set(cell.inputs) == {
        *("suite", "dataset", "model", "neuron", "parent", "rule", "pruner", "tune", "target", "export", "seed"),
        *("budget", "revisions"),
    }
    assert cell.inputs["budget"] == {
        "train_epochs": 2,
        "tune_epochs": 1,
        "batch": 128,
        "precision": "float32",
        "threads": 1,
    }
    assert cell.inputs["revisions"] == {"bench": PROTOCOL, **dict.fromkeys(REVISED, 1)}
    assert (cell.inputs["tune"]["name"], cell.inputs["seed"], cell.inputs["neuron"]) == ("still", 7, None)
    assert cell.inputs["model"] == {
        "name": "mlp-300-150-10",
        "params": {"widths": [12], "bias": True},
        "prunable": ["*"],
    }


REVISED = ("dataset", "model", "rule", "tune", "pruner")

USUAL: dict[str, Any] = {"pruners": ["none", "magnitude"], "values": [0.5, 0.9], "seeds": [0, 1]}


@settings(max_examples=20)
@given(
    st.lists(st.sampled_from(["random", "magnitude[scope=layer]", "early", "regrow"]), unique=True),
    st.lists(st.sampled_from([0.1, 0.8, 0.95]), unique=True),
    st.lists(st.sampled_from([2, 3, 4]), unique=True),
    st.randoms(use_true_random=False),
)
def test_what_is_added_or_reordered_changes_no_key(
    suite_cells: Cells, pruners: list[str], values: list[float], seeds: list[int], random: Any
) -> None:
    more = {"pruners": pruners, "values": values, "seeds": seeds}
    grown: dict[str, Any] = {}
    for field, usual in USUAL.items():
        grown[field] = usual + more[field]
        random.shuffle(grown[field])
    before, after = keys(suite_cells(**USUAL)), keys(suite_cells(**grown))
    assert before.items() <= after.items()
    assert len(set(after.values())) == len(after)


def test_the_order_of_toml_fields_is_nothing(tiny_registry: Registry, suite_text: Callable[..., str]) -> None:
    text = suite_text()
    head, networks = text[: text.index("[[networks]]")], text[text.index("[[networks]]") :].strip().splitlines()
    turned = "\n".join(["[[networks]]", *reversed(networks[1:])])
    made = [cells(parse(t), tiny_registry)[0] for t in (text, head + turned)]
    assert keys(made[0]) == keys(made[1])


CHANGES = {
    "rule": {"rule": "backprop[rate=0.2]"},
    "model": {"model": "mlp-300-150-10[widths=13]"},
    "epochs": {"train": 3},
    "batch": {"batch": 64},
    "precision": {"more": "precision = 'bfloat16'"},
    "threads": {"more": "threads = 2"},
    "seed": {"seeds": [1]},
}


@pytest.mark.parametrize("fields", CHANGES.values(), ids=CHANGES)
def test_what_acts_before_pruning_changes_cell_and_parent(fields: dict[str, Any], suite_cells: Cells) -> None:
    (before,), (after,) = suite_cells(), suite_cells(**fields)
    assert after.key != before.key
    assert after.parent_key != before.parent_key


LATER = {
    "pruner": {"pruners": ["magnitude[scope=layer]"]},
    "target": {"values": [0.6]},
    "kind of target": {"target": "parameters"},
    "fine-tuning": {"tune": 2},
    "fine-tuning rule": {"more": "tune = 'still'"},
}


@pytest.mark.parametrize("fields", LATER.values(), ids=LATER)
def test_what_acts_later_changes_the_cell_alone(fields: dict[str, Any], suite_cells: Cells) -> None:
    (before,), (after,) = suite_cells(), suite_cells(**fields)
    assert after.key != before.key
    assert after.parent_key == before.parent_key


def test_suite_and_version_change_the_cell_alone(tiny_registry: Registry, suite_text: Callable[..., str]) -> None:
    suite = parse(suite_text())
    made = [cells(s, tiny_registry)[0][0] for s in (suite, replace(suite, name="x"), replace(suite, version="2.0"))]
    assert len({c.key for c in made}) == 3
    assert len(parents(made)) == 1


def test_question_columns_and_axis_are_no_identity(tiny_registry: Registry, suite_text: Callable[..., str]) -> None:
    suite = parse(suite_text())
    told = replace(suite, question="Else?", counter="fanout", counters=("dense",), metrics=("top1",))
    assert keys(cells(suite, tiny_registry)[0]) == keys(cells(told, tiny_registry)[0])


def test_all_late_pruners_and_targets_share_a_parent(suite_cells: Cells) -> None:
    found = suite_cells(pruners=["none", "magnitude", "random", "sharing", "tuning"], values=[0.5, 0.9], seeds=[0, 1])
    assert len(parents(found)) == 2
    (parent,) = {canonical(c.parent) for c in found if c.inputs["seed"] == 1}
    told = json.loads(parent)
    assert set(told) == {"dataset", "model", "neuron", "rule", "seed", "budget", "revisions"}
    assert set(told["revisions"]) == {"bench", "dataset", "model", "rule"}


def test_a_pruner_that_acts_early_has_its_own_parent(suite_cells: Cells) -> None:
    found = suite_cells(pruners=["magnitude", "early", "regrow", "regrow[every=4]"], values=[0.5, 0.9])
    assert len(parents(found)) == 1 + 3 * 2
    early = next(c for c in found if c.inputs["pruner"]["name"] == "early")
    assert early.parent["pruner"] == early.inputs["pruner"]
    assert early.parent["target"] == early.inputs["target"]
    assert early.parent["revisions"]["pruner"] == 1


def test_a_revision_of_a_plugin_is_identity(registry: Registry, suite_text: Callable[..., str]) -> None:
    raised = registries.load(strangers=False)
    found = raised.find("pruner", "magnitude")
    raised._entries["pruner"]["magnitude"] = replace(found, entry=replace(found.entry, revision=2))
    suite = parse(suite_text())
    (before,), (after,) = cells(suite, registry)[0], cells(suite, raised)[0]
    assert (before.key == after.key, before.parent_key == after.parent_key) == (False, True)


def test_a_neuron_is_resolved_for_spiking_models_alone(suite_cells: Cells) -> None:
    (ordinary,) = suite_cells(more="neuron = 'fused[tau=3]'")
    (spiking,) = suite_cells(model="snn-conv", more="neuron = 'fused[tau=3]'")
    assert ordinary.inputs["neuron"] is None
    assert spiking.inputs["neuron"]["name"] == "fused"
    assert spiking.inputs["neuron"]["params"]["tau"] == 3.0
    assert spiking.parent["revisions"]["neuron"] == 1


@dataclass(frozen=True)
class Izhikevich:
    recovery: float = param(0.02, doc="of another equation than LIF")


def test_a_backend_that_cannot_do_an_equation_is_refused(suite_text: Callable[..., str]) -> None:
    found = registries.load(strangers=False)
    module = ModuleType("backends")
    entries = [NeuronEntry("hard", summary="s"), NeuronEntry("other", summary="s", params=Izhikevich)]
    module.synobench_neurons = hookimpl(lambda: entries)  # type: ignore[attr-defined]
    module.synobench_neurons.__name__ = "synobench_neurons"
    found.add(registries.Origin("backends", "strange", "1", "backends"), lambda: module)

    def resolve(neuron: str) -> Any:
        text = suite_text(model="snn-conv", more=f"neuron = '{neuron}'")
        return cells(parse(text), found)[0][0].inputs["neuron"]["params"]

    with pytest.raises(BenchError, match=r"^neuron hard cannot do reset=soft; it can: hard$"):
        resolve("hard[reset=soft]")
    with pytest.raises(BenchError, match=r"^neuron hard cannot do surrogate=triangle; it can: atan$"):
        resolve("hard[surrogate=triangle]")
    assert resolve("hard")["reset"] == "hard"
    assert resolve("fused[reset=soft]")["reset"] == "soft"
    assert resolve("other") == {"recovery": 0.02}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"pruners": ["magnitud"]}, "no pruner is called 'magnitud' (did you mean 'magnitude'?)"),
        ({"pruners": ["magnitude[scop=layer]"]}, "pruner magnitude has no parameter 'scop' (did you mean 'scope'?)"),
        ({"rule": "backprop[rate=-1]"}, "rule backprop[rate]=-1.0 is below its least value, 0.0"),
        ({"model": "snn-con"}, "no model is called 'snn-con' (did you mean 'snn-conv'?)"),
        ({"model": "snn-conv", "more": "neuron = 'fusd'"}, "no neuron is called 'fusd' (did you mean 'fused'?)"),
        (
            {"target": "synops", "counter": "counter = 'efective'"},
            "no counter is called 'efective' (did you mean 'effective'?)",
        ),
    ],
)
def test_what_nobody_registered_is_told(fields: dict[str, Any], told: str, suite_cells: Cells) -> None:
    with pytest.raises(BenchError) as caught:
        suite_cells(**fields)
    assert str(caught.value) == told


@pytest.mark.parametrize("field", ["counter", "counters", "metrics"])
def test_columns_that_nobody_registered_are_told_before_the_runs(
    field: str, tiny_registry: Registry, suite_text: Callable[..., str]
) -> None:
    wrong = {field: "topp1" if field == "counter" else ("topp1",)}
    with pytest.raises(BenchError, match=r"no (counter|metric) is called 'topp1'"):
        cells(replace(parse(suite_text()), **wrong), tiny_registry)


def test_pruners_that_cannot_aim_so_are_skipped_with_the_reason(
    tiny_registry: Registry, suite_text: Callable[..., str]
) -> None:
    suite = replace(parse(suite_text(pruners=["magnitude", "none"])), targets=())
    made, skipped = cells(suite, tiny_registry)
    assert [c.inputs["target"] for c in made] == [{"name": "none"}]
    assert [(s.label.rpartition("/")[2], s.reason) for s in skipped] == [
        ("magnitude", "it aims at parameters, sparsity, synops")
    ]


def test_one_point_written_twice_is_one_cell(suite_cells: Cells) -> None:
    found = suite_cells(pruners=["magnitude", "magnitude[scope=global]", "magnitude"], values=[0.5, 0.50], seeds=[0, 0])
    assert len(found) == 1


def test_networks_that_differ_in_their_rule_alone_are_told_apart(
    tiny_registry: Registry, suite_text: Callable[..., str]
) -> None:
    suite = parse(suite_text())
    (network,) = suite.networks
    twin = replace(network, rule="still", train_epochs=3)
    alone = replace(network, model="snn-conv")
    found, _ = cells(replace(suite, networks=(network, twin, alone)), tiny_registry)
    assert [c.network for c in found] == [
        "digits/mlp-300-150-10[widths=12]/rule=backprop[rate=0.1]/train_epochs=2",
        "digits/mlp-300-150-10[widths=12]/rule=still/train_epochs=3",
        "digits/snn-conv",
    ]
    assert len(keys(found)) == len({c.key for c in found}) == 3


def test_targets_are_told_as_text() -> None:
    assert target_text({"name": "none"}) == "none"
    assert target_text({"name": "sparsity", "value": 0.9}) == "sparsity=0.9"
    assert target_text({"name": "synops", "value": 0.5, "counter": "effective"}) == "synops(effective)=0.5"


RELEASED = """
name = "demo"
version = "1.0"
question = "?"
counter = "effective"
seeds = [0, 1, 2]
pruners = ["none", "magnitude", "early"]
[[targets]]
name = "sparsity"
values = [0.5]
[[networks]]
checkpoint = "mlpnet-mnist"
tune_epochs = {tune}
batch = 64
{more}
[[networks]]
dataset = "digits"
model = "mlp-300-150-10"
rule = "backprop"
train_epochs = 1
tune_epochs = 0
batch = 64
"""


def test_a_checkpoint_is_one_parent_for_all_seeds_and_pruners(tiny_registry: Registry) -> None:
    made = cells(parse(RELEASED.format(tune=0, more="")), tiny_registry)[0]
    own = [c for c in made if c.network == "mlpnet-mnist"]
    assert len(own) == 6
    assert len(parents(own)) == 1
    assert len({c.key for c in own}) == 6
    cell, entry = own[-1], tiny_registry.get("checkpoint", "mlpnet-mnist")
    assert cell.label == "mlpnet-mnist/magnitude/sparsity=0.5/seed=2"
    assert "seed" not in cell.parent
    assert cell.parent["checkpoint"] == {
        "name": "mlpnet-mnist",
        "digest": entry.digest,
        "mean": [0.1307],
        "std": [0.3081],
        "rebuild": None,
    }
    assert cell.inputs["parent"] == {
        **cell.parent["checkpoint"],
        "name": "checkpoint",
        "checkpoint": "mlpnet-mnist",
        "key": cell.parent_key,
    }
    assert cell.inputs["dataset"]["name"] == "mnist"
    assert cell.inputs["model"]["params"] == {"widths": [40, 20], "bias": False}
    assert cell.inputs["rule"] == cell.inputs["tune"] == {"name": "none", "params": {}}
    assert (cell.inputs["budget"]["train_epochs"], cell.inputs["revisions"]["parent"]) == (0, 1)


def test_a_checkpoints_parent_depends_on_what_is_done_to_it(tiny_registry: Registry) -> None:
    def parent(more: str = "", tune: int = 0, **fields: Any) -> str:
        entry = tiny_registry.get("checkpoint", "mlpnet-mnist")
        held = tiny_registry._entries["checkpoint"]
        before = held["mlpnet-mnist"]
        held["mlpnet-mnist"] = replace(before, entry=replace(entry, **fields))
        try:
            return cells(parse(RELEASED.format(tune=tune, more=more)), tiny_registry)[0][0].parent_key
        finally:
            held["mlpnet-mnist"] = before

    same = parent()
    assert parent(summary="another text", homepage="elsewhere") == same
    assert parent("tune = 'backprop'", tune=1) == parent("precision = 'bfloat16'") == same
    changed = [
        parent(mean=(0.5,)),
        parent(std=(0.5,)),
        parent(digest="sha256:" + 64 * "0"),
        parent(rebuild=Rebuild()),
        parent(rebuild=Rebuild(seed=1)),
        parent(revision=2),
        parent("threads = 2"),
    ]
    assert len({same, *changed}) == 1 + len(changed)


def test_what_trains_along_cannot_stand_on_a_checkpoint(tiny_registry: Registry) -> None:
    _, skipped = cells(parse(RELEASED.format(tune=0, more="")), tiny_registry)
    assert [(s.label, s.reason) for s in skipped] == [
        ("mlpnet-mnist/early", "it acts in initialisation, and checkpoint mlpnet-mnist is trained already")
    ]


def test_an_unknown_checkpoint_is_told(tiny_registry: Registry) -> None:
    text = RELEASED.format(tune=0, more="").replace("mlpnet-mnist", "mlpnet-minst")
    with pytest.raises(BenchError, match=r"mlpnet-minst.*mlpnet-mnist"):
        cells(parse(text), tiny_registry)


def test_a_networks_own_pruners_and_targets_stand_in_the_place_of_the_suites(tiny_registry: Registry) -> None:
    own = 'pruners = ["magnitude"]\ntargets = [{ name = "sparsity", values = [0.9, 0.98] }]'
    usual = parse(RELEASED.format(tune=0, more=""))
    suite = parse(RELEASED.format(tune=0, more=own))

    def spots(suite: Any, network: str) -> set[str]:
        return {c.label.rpartition("/")[0] for c in cells(suite, tiny_registry)[0] if c.network == network}

    assert spots(suite, "mlpnet-mnist") == {f"mlpnet-mnist/magnitude/sparsity={v}" for v in (0.9, 0.98)}
    trained = "digits/mlp-300-150-10"
    assert spots(suite, trained) == spots(usual, trained)
    more = with_pruners(suite, ["random", "magnitude"])
    assert spots(more, "mlpnet-mnist") > spots(suite, "mlpnet-mnist")
    for network in ("mlpnet-mnist", trained):
        assert any("/random/" in spot for spot in spots(more, network))


def test_a_suite_in_parts_has_the_cells_of_the_whole(tiny_registry: Registry) -> None:
    suite = parse(RELEASED.format(tune=0, more='pruners = ["none", "random"]'))
    whole = [c.key for c in cells(suite, tiny_registry)[0]]
    assert [c.key for part in in_parts(suite) for c in cells(part, tiny_registry)[0]] == whole
    assert len(list(in_parts(suite))) == 2 + 3
