"""What a user is told: the nearest name, or what there is."""

from __future__ import annotations

from synobench.errors import BenchError, ContractError, SealedError, nearest


def test_the_nearest_name_is_told() -> None:
    assert nearest("magnitud", ["magnitude", "random"]) == " (did you mean 'magnitude'?)"


def test_without_a_near_one_all_are_told_in_order() -> None:
    assert nearest("xyz", ["b", "a", "b"]) == " (known: a, b)"


def test_nothing_known_is_told() -> None:
    assert nearest("xyz", []) == " (none is known)"


def test_every_error_is_a_bench_error() -> None:
    assert issubclass(SealedError, BenchError)
    assert issubclass(ContractError, BenchError)
