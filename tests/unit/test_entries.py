"""Entries refuse what they cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from synobench.entries import API, KINDS, Entry, ModelEntry, PrunerEntry
from synobench.errors import ContractError
from synobench.neurons import LIF


@dataclass(frozen=True)
class Params:
    pass


def entry(name: str = "mine", **more: Any) -> PrunerEntry:
    return PrunerEntry(name, **{"summary": "one line", **more})


@pytest.mark.parametrize("name", ["", "Mine", "my one", "mine\n", "-mine", "a/b", "ü", 3])
def test_names_that_cannot_be_written_in_a_spec_are_refused(name: Any) -> None:
    with pytest.raises(ContractError, match="is not made of"):
        entry(name)


@pytest.mark.parametrize("name", ["a", "9", "mlp-300-150-10", "v1.2", "chita++"])
def test_names_of_letters_digits_dots_dashes_and_plus_signs_are_taken(name: str) -> None:
    assert entry(name).name == name


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"api": API + 1}, f"written for api {API + 1}; this bench speaks {API}"),
        ({"api": API - 2}, f"written for api {API - 2}"),
        ({"params": int}, "must be a dataclass type"),
        ({"params": Params()}, "must be a dataclass type"),
        ({"summary": "two\nlines"}, "summary of one line"),
        ({"summary": "  "}, "summary of one line"),
        ({"revision": 0}, "counts from 1"),
        ({"when": {"later"}}, "when of pruner 'mine' has later; allowed: fine-tuning, initialisation, trained"),
        ({"when": "trained"}, "when of pruner 'mine' must be a set of names, as {'trained'}"),
        ({"when": set()}, "at least one of when"),
        ({"targets": {"accuracy"}}, "targets of pruner 'mine' has accuracy"),
        ({"needs": {"test"}}, "needs of pruner 'mine' has test"),
        ({"granularity": "layer"}, "is weight or channel, not 'layer'"),
    ],
)
def test_what_an_entry_cannot_be_is_told(more: dict[str, Any], told: str) -> None:
    with pytest.raises(ContractError) as caught:
        entry(**more)
    assert told in str(caught.value)


def test_the_api_before_is_accepted() -> None:
    assert entry(api=API - 1).api == API - 1


def test_sets_become_plain_frozen_sets() -> None:
    assert hash(entry(when={"trained"}, targets={"synops"})) == hash(entry(targets={"synops"}))


def test_code_is_loaded_from_where_it_stands() -> None:
    assert entry(params=Params).load() is Params
    assert entry(run=len).load() is len
    assert entry(run="synobench.neurons:LIF").load() is LIF


def test_every_kind_is_known_by_its_name() -> None:
    assert {kind: cls.kind for kind, cls in KINDS.items()} == {kind: kind for kind in KINDS}
    assert set(KINDS.values()) == set(Entry.__subclasses__())
    assert KINDS["model"] is ModelEntry
