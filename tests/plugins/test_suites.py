"""The built-in suites: each can be planned, and holds to the house's own rules."""

from __future__ import annotations

from pathlib import Path

import pytest

import synobench_suites
from synobench.protocol import Suite, parse
from synobench.registry import Registry
from synobench.suite import cells

FOLDER = Path(synobench_suites.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))


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


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_faces_the_control_and_what_any_must_beat(name: str, registry: Registry) -> None:
    suite = read(name, registry)
    assert suite.pruners[0] == "none"
    assert "random" in suite.pruners
    budgets = {
        (c.network, c.inputs["budget"]["train_epochs"], c.inputs["budget"]["tune_epochs"])
        for c in cells(suite, registry)[0]
    }
    assert len(budgets) == len(suite.networks)


@pytest.mark.parametrize("name", NAMES)
def test_seeds_are_enough_to_be_ranked(name: str, registry: Registry) -> None:
    assert len(read(name, registry).seeds) >= (3 if name == "quickstart" else 5)


def test_quickstart_needs_no_download(registry: Registry) -> None:
    for network in read("quickstart", registry).networks:
        entry = registry.get("dataset", network.dataset)
        assert (entry.files, entry.layouts) == ((), ())


def test_reading_gives_the_files_own_text() -> None:
    for name in NAMES:
        assert synobench_suites.read(name) == (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
