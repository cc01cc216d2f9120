"""The built-in suites: each can be planned, and holds to the house's own rules."""

from __future__ import annotations

from pathlib import Path

import pytest

import synobench_suites
from synobench.protocol import RULE, Network, Suite, parse
from synobench.registry import Registry
from synobench.suite import cells, in_parts

FOLDER = Path(synobench_suites.__file__).parent
NAMES = sorted(path.stem.replace("_", "-") for path in FOLDER.glob("*.toml"))


def read(name: str, registry: Registry) -> Suite:
    return parse(registry.get("suite", name).load()(), name)


def test_every_file_is_registered_and_every_suite_has_its_file(registry: Registry) -> None:
    own = [f.entry.name for f in registry.all("suite") if f.origin.plugin == "suites"]
    assert own == NAMES == sorted(synobench_suites.SUMMARIES)


@pytest.mark.parametrize("name", NAMES)
def test_a_suite_is_called_as_its_file_and_can_be_planned(name: str, registry: Registry) -> None:
    suite = read(name, registry)
    made, skipped = cells(suite, registry)
    assert suite.name == name
    assert suite.question.endswith("?")
    assert made
    assert skipped == []
    assert len({c.label for c in made}) == len(made)
    assert suite.counter in suite.counters


@pytest.mark.parametrize("name", [name for name in NAMES if name != "rules"])
def test_every_entry_faces_the_control_and_what_any_must_beat(name: str, registry: Registry) -> None:
    suite = read(name, registry)
    assert suite.pruners[0] == "none"
    assert "random" in suite.pruners
    budgets = {
        (c.network, c.inputs["budget"]["train_epochs"], c.inputs["budget"]["tune_epochs"])
        for c in cells(suite, registry)[0]
    }
    assert len(budgets) == len(suite.networks)


def test_one_shot_stands_on_the_parents_of_the_other_suites(registry: Registry) -> None:
    def parents(name: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for cell in cells(read(name, registry), registry)[0]:
            found.setdefault(cell.network, set()).add(cell.parent_key)
        return found

    own = parents("one-shot")
    assert own["mnist/snn-conv"] == parents("sparsity")["mnist/snn-conv"]
    assert own["digits/mlp-300-150-10"] > parents("quickstart")["digits/mlp-300-150-10"]
    assert [len(own[name]) for name in ("mlpnet-mnist", "resnet20-cifar10-mfac")] == [1, 1]


def test_one_shot_goes_further_where_networks_bear_it_and_trains_nothing_again(registry: Registry) -> None:
    aims: dict[str, set[float]] = {}
    for cell in cells(read("one-shot", registry), registry)[0]:
        assert cell.inputs["budget"]["tune_epochs"] == 0
        if cell.inputs["target"]["name"] == "sparsity":
            aims.setdefault(cell.network, set()).add(cell.inputs["target"]["value"])
    usual = {0.5, 0.6, 0.7, 0.8, 0.9}
    assert aims["resnet20-cifar10-mfac"] == aims["mnist/snn-conv"] == usual
    assert aims["mlpnet-mnist"] == aims["digits/mlp-300-150-10"] == usual | {0.95, 0.98}


def test_what_one_shot_shows_as_published_is_whole_and_says_where_it_comes_from(registry: Registry) -> None:
    told = read("one-shot", registry).published
    by_network = {n: [p for p in told if p.network == n] for n in ("mlpnet-mnist", "resnet20-cifar10-mfac")}
    assert [len(figures) for figures in by_network.values()] == [1 + 5 * 7] * 2
    assert {p.entry for p in told} == {"none", "magnitude", "woodfisher", "cbs", "chita", "chita++"}
    assert all("as recalled" in p.note and p.source == "Benbaki2023" for p in told)
    assert [(p.target["value"], p.value) for p in told if p.error] == [(0.9, 79.32)]


@pytest.mark.parametrize("name", NAMES)
def test_seeds_are_enough_to_be_ranked(name: str, registry: Registry) -> None:
    assert len(read(name, registry).seeds) >= (3 if name == "quickstart" else 5)


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("quickstart", set()),
        ("one-shot", {"resnet20-cifar10-mfac", "snn-conv"}),
        ("sparsity", {"mlp-300-150-10", "snn-conv"}),
    ],
)
def test_who_has_twins(name: str, without: set[str], registry: Registry) -> None:
    networks = read(name, registry).networks
    assert {network.checkpoint or network.model for network in networks if not network.twins} == without


def test_rules_all_face_backprop_on_one_budget_and_are_pruned_where_it_is_cheap(registry: Registry) -> None:
    suite = read("rules", registry)
    assert (suite.versus, suite.reference, suite.pruners) == (RULE, "backprop", ("none",))
    places: dict[str, list[Network]] = {}
    for network in suite.networks:
        places.setdefault(network.label, []).append(network)
    for held in places.values():
        assert held[0].entry == "backprop"
        assert held[0].rule.startswith("backprop")
        assert len(held) > 1
        assert len({(n.train_epochs, n.tune_epochs, n.batch, n.pruners) for n in held}) == 1
    pruned = {label for label, held in places.items() if "magnitude" in held[0].pruners}
    assert pruned == {"digits/mlp-300-150-10", "mnist/mlp-300-150-10"}


def test_rules_have_each_ablation_on_the_perceptrons(registry: Registry) -> None:
    told: dict[str, dict[str, dict[str, object]]] = {}
    for cell, network in zip(cells(read("rules", registry), registry)[0], _networks(registry), strict=True):
        told.setdefault(network.label, {})[network.entry] = cell.inputs["rule"]["params"]
    for label in ("digits/mlp-300-150-10", "mnist/mlp-300-150-10"):
        held = told[label]
        assert held["predictive coding"].items() >= {"energy": "centred", "lalr": True, "solver": "state"}.items()
        assert held["PC, forward energy only"]["energy"] == "off"
        assert held["PC, plain energy"]["energy"] == "plain"
        assert held["PC, no LALR"]["lalr"] is False
        assert held["PC, error solver"]["solver"] == "error"
        assert held["Z-IL"]["solver"] == "zil"
    deep = [label for label in told if label.startswith("mnist/mlp-residual[skip=")]
    assert sorted(deep) == ["mnist/mlp-residual[skip=false]", "mnist/mlp-residual[skip=true]"]


def _networks(registry: Registry) -> list[Network]:
    """Return the network of the suite `rules` that each of its cells is on, in their order."""
    suite = read("rules", registry)
    parts = [(part.networks[0], cells(part, registry)[0]) for part in in_parts(suite)]
    return [network for network, found in parts for _ in found]


def test_quickstart_needs_no_download(registry: Registry) -> None:
    for network in read("quickstart", registry).networks:
        entry = registry.get("dataset", network.dataset)
        assert (entry.files, entry.layouts) == ((), ())


def test_reading_gives_the_files_own_text() -> None:
    for name in NAMES:
        file = FOLDER / f"{name.replace('-', '_')}.toml"
        assert synobench_suites.read(name) == file.read_text(encoding="utf-8")
