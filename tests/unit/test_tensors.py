"""Trees on disk: what comes back is what was put in, or it is told."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from synobench.errors import BenchError
from synobench.tensors import digest, load_tree, save_tree

KINDS = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)

tensors = st.builds(
    lambda kind, shape, seed: (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 3).to(kind),
    st.sampled_from(KINDS),
    st.lists(st.integers(0, 3), max_size=3),
    st.integers(0, 9),
)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ab\0é", max_size=3) | tensors
keys = st.text("ab", max_size=2) | st.integers(0, 3) | st.tuples(st.integers(0, 1))
trees = st.recursive(
    leaves,
    lambda i: st.lists(i, max_size=3) | st.tuples(i, i) | st.dictionaries(keys, i, max_size=3),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(tree=trees)
def test_trees_round_trip(tree: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("trees") / "tree.safetensors"
    save_tree(path, tree)
    assert same(tree, load_tree(path))


def test_shared_transposed_and_learnt_tensors_come_back_as_values(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.arange(6.0).view(2, 3))
    save_tree(tmp_path / "t", {"a": weight, "b": weight.T, "c": weight[0]})
    found = load_tree(tmp_path / "t")
    assert [found[k].tolist() for k in "abc"] == [weight.tolist(), weight.T.tolist(), weight[0].tolist()]
    assert not found["a"].requires_grad


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", lambda: None, torch.nn.Linear(1, 1)])
def test_what_cannot_be_stored_is_told_and_leaves_the_old_file(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "t"
    save_tree(path, {"old": 1})
    with pytest.raises(BenchError, match="cannot be stored: use tensors, numbers, text, lists and mappings"):
        save_tree(path, {"new": [value]})
    assert load_tree(path) == {"old": 1}


@pytest.mark.parametrize("cut", [0, 4, 9, 60, -1])
def test_a_damaged_file_is_told_with_its_remedy(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "t"
    save_tree(path, {"a": torch.ones(3)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BenchError) as caught:
        load_tree(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith("delete it and run again")
    assert "\n" not in str(caught.value)


def test_a_file_of_somebody_else_is_told(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "t")
    for path in (tmp_path / "t", tmp_path / "absent"):
        with pytest.raises(BenchError, match="cannot be read"):
            load_tree(path)


def test_a_digest_is_of_names_shapes_kinds_and_bytes() -> None:
    told = hashlib.sha256()
    told.update(b"a\0[2]\0torch.float32\0" + b"\x00\x00\x80\x3f\x00\x00\x00\x40")
    told.update(b"b\0[]\0torch.int64\0" + b"\x05" + b"\x00" * 7)
    found = digest({"b": torch.tensor(5), "a": torch.tensor([1.0, 2.0])})
    assert found == f"sha256:{told.hexdigest()}"


def test_a_digest_sees_every_difference_but_layout_and_steps() -> None:
    base = {"w": torch.arange(4.0).view(2, 2)}
    others = [
        {"v": base["w"]},
        {"w": base["w"].view(4)},
        {"w": base["w"].double()},
        {"w": base["w"] + torch.tensor([[0, 0], [0, 1e-6]])},
        {"w": base["w"], "more": torch.zeros(0)},
    ]
    assert len({digest(o) for o in [base, *others]}) == 6
    assert digest({"w": base["w"].T.contiguous().T}) == digest(base)
    assert digest({**base, "bn.num_batches_tracked": torch.tensor(3)}) == digest(base)
    assert digest({"w": torch.tensor([True])}) != digest({"w": torch.tensor([False])})
