"""Hooks: every kind of entry has one, and each is documented and typed."""

from __future__ import annotations

import inspect
import typing

import pytest

from synobench import hookspecs
from synobench.entries import KINDS
from synobench.hookspecs import PROJECT
from synobench.registry import REGISTER_HOOKS

HOOKS = {n: getattr(hookspecs, n) for n in dir(hookspecs) if n.startswith(f"{PROJECT}_")}
EVENTS = {"provenance", "run_started", "run_progress", "run_finished", "board_built", "pages_built"}


def test_there_is_a_hook_for_every_kind_and_nothing_else() -> None:
    assert set(HOOKS) == set(REGISTER_HOOKS.values()) | {f"{PROJECT}_{event}" for event in EVENTS}
    assert set(REGISTER_HOOKS) == set(KINDS)


@pytest.mark.parametrize("name", HOOKS)
def test_each_hook_is_a_marked_documented_typed_specification(name: str) -> None:
    hook = HOOKS[name]
    assert hasattr(hook, f"{PROJECT}_spec")
    assert inspect.getdoc(hook)
    assert set(typing.get_type_hints(hook)) == {*inspect.signature(hook).parameters, "return"}


@pytest.mark.parametrize("kind", KINDS)
def test_register_hooks_take_nothing_and_return_entries_of_their_kind(kind: str) -> None:
    hook = HOOKS[REGISTER_HOOKS[kind]]
    assert not inspect.signature(hook).parameters
    assert typing.get_args(typing.get_type_hints(hook)["return"]) == (KINDS[kind],)
