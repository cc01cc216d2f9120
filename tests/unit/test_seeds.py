"""Seeds: one derivation, from seed, purpose and epoch alone."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from synobench import seeds

places = st.tuples(st.integers(0, 10), st.sampled_from(["train/order", "tune/order", "prune"]), st.integers(0, 10))


def test_the_derivation_is_frozen() -> None:
    assert seeds.derive(0, "initial weights") == 8731172760837766030
    assert seeds.derive(3, "train/order", 7) == 3165604765040777145


@given(places, places)
def test_different_places_have_different_seeds(one: tuple[int, str, int], other: tuple[int, str, int]) -> None:
    assert (seeds.derive(*one) == seeds.derive(*other)) == (one == other)
    assert 0 <= seeds.derive(*one) < 2**63


def test_it_is_the_same_in_another_process() -> None:
    code = "from synobench import seeds; print(seeds.derive(1, 'x', 2))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    assert int(told.stdout) == seeds.derive(1, "x", 2)


def test_generators_of_one_purpose_draw_the_same() -> None:
    one, same, other = (torch.rand(3, generator=seeds.generator(1, p, 2)) for p in ("order", "order", "augment"))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def test_reseeding_reaches_python_numpy_and_torch() -> None:
    seeds.reseed(5, "train", 1)
    first = draw()
    seeds.reseed(5, "train", 1)
    assert draw() == first
    seeds.reseed(5, "train", 2)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_global_and_lent_generators_do_not_share_a_stream() -> None:
    seeds.reseed(5, "train", 1)
    assert float(torch.rand(1)) != float(torch.rand(1, generator=seeds.generator(5, "train", 1)))
