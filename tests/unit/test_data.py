"""Digests, the fixed split, the seal, and what opening a data set refuses."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synobench import data
from synobench.data import Arrays, Sealed, Splits, content_digest, open_dataset, split_digest, split_indices
from synobench.entries import DatasetEntry, Layout
from synobench.errors import BenchError, ContractError, SealedError


def arrays(train: int = 20, test: int = 6) -> Arrays:
    draw = np.random.RandomState(0)
    images = draw.randint(0, 256, (train + test, 2, 3, 3)).astype(np.uint8)
    labels = draw.randint(0, 4, train + test).astype(np.int64)
    return Arrays(images[:train], labels[:train], images[train:], labels[train:])


def entry(run: Callable[[Path], Any] = lambda _: arrays(), **changes: Any) -> DatasetEntry:
    facts: dict[str, Any] = {
        "summary": "s",
        "shape": (2, 3, 3),
        "classes": 4,
        "train": 20,
        "test": 6,
        "validation": 5,
        "mean": (0.5, 0.5),
        "std": (0.5, 0.5),
        "digest": content_digest(arrays()),
        "split": split_digest(split_indices(20, 5)),
    }
    return DatasetEntry("toy", run=run, **(facts | changes))


def splits() -> Splits:
    return open_dataset(entry())


def test_digest_is_of_contents_not_of_memory_layout() -> None:
    made = arrays()
    fortran = dataclasses.replace(made, train_images=np.asfortranarray(made.train_images))
    big_endian = dataclasses.replace(made, train_labels=made.train_labels.astype(">i8"))
    assert content_digest(fortran) == content_digest(big_endian) == content_digest(made)


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Arrays)])
def test_digest_sees_each_value_shape_and_dtype(field: str) -> None:
    made = arrays()
    array = getattr(made, field)
    other = array.copy()
    other.flat[-1] ^= 1
    seen = [
        content_digest(dataclasses.replace(made, **{field: a})) for a in (array, other, array[None], array.astype("i4"))
    ]
    assert len(set(seen)) == 4


def test_digest_is_frozen() -> None:
    digest = content_digest(Arrays(*(np.arange(n, dtype=np.uint8) for n in (4, 3, 2, 1))))  # type: ignore[arg-type]
    assert digest == "sha256:8c664dc09570b48d65c4aa686bbddf80052ce0ef46c853f2c9392afed16fe237"


def test_split_is_frozen_sorted_and_without_repeats() -> None:
    indices = split_indices(1000, 100)
    assert len(indices) == 100
    assert (np.diff(indices) > 0).all()
    assert indices.min() >= 0
    assert indices.max() < 1000
    assert indices.dtype == np.int64
    assert (
        split_digest(split_indices(10, 4)) == "sha256:d1c4f58b1fabc7dbf82bbe4669738079424480edc725e95bbb47ebf49746690c"
    )


def test_the_split_takes_nothing_from_the_global_generator() -> None:
    np.random.seed(1)
    before = split_indices(50, 10)
    np.random.seed(2)
    assert (split_indices(50, 10) == before).all()


def test_training_and_validation_share_the_training_images_and_nothing_else() -> None:
    made, opened, held_out = arrays(), splits(), split_indices(20, 5)
    rest = np.setdiff1d(np.arange(20), held_out)
    assert (len(opened.train), len(opened.validation)) == (15, 5)
    assert (opened.validation.images == made.train_images[held_out]).all()
    assert (opened.validation.labels == made.train_labels[held_out]).all()
    assert (opened.train.images == made.train_images[rest]).all()
    assert (opened.train.labels == made.train_labels[rest]).all()


def test_unsealing_gives_the_test_view() -> None:
    view = splits().unseal()
    assert (view.images == arrays().test_images).all()
    assert (view.labels == arrays().test_labels).all()


TOUCHES: dict[str, Callable[[Any], object]] = {
    ".images": lambda s: s.images,
    ".labels": lambda s: s.labels,
    "._name": lambda s: s._name,
    ".__dict__": vars,
    ".unseal": lambda s: s.unseal(),
    ".note": lambda s: setattr(s, "note", 1),
    "its length": len,
    "its truth value": bool,
    "iteration": list,
    "membership": lambda s: 3 in s,
    "[0]": lambda s: s[0],
    "[slice(None, 2, None)]": lambda s: s[:2],
    ".__array": np.asarray,
    ".__deepcopy__": copy.deepcopy,
    ".__reduce_ex__": pickle.dumps,
}


@pytest.mark.parametrize("what", TOUCHES)
def test_touching_the_sealed_view_is_refused_by_name(what: str) -> None:
    with pytest.raises(SealedError) as caught:
        TOUCHES[what](splits().sealed)
    assert "test split of toy is sealed until judging" in str(caught.value)
    assert what in str(caught.value)


def test_the_seal_can_be_shown_and_recognised_but_hides_no_data() -> None:
    sealed = splits().sealed
    assert repr(sealed) == "<test split of toy, sealed until judging>"
    assert isinstance(sealed, Sealed)
    assert [object.__getattribute__(sealed, slot) for slot in Sealed.__slots__] == ["toy"]


def test_other_contents_than_declared_are_refused() -> None:
    with pytest.raises(BenchError, match="holds other data than announced: sha256:") as caught:
        open_dataset(entry(digest="sha256:00"))
    assert not isinstance(caught.value, ContractError)
    assert open_dataset(entry(digest=None)).train.images.shape == (15, 2, 3, 3)


def test_another_split_than_declared_is_refused() -> None:
    with pytest.raises(BenchError, match=r"the split of toy is sha256:.* declares sha256:00"):
        open_dataset(entry(split="sha256:00"))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ((1, 2), "returned tuple, not synobench.data.Arrays"),
        (arrays(train=19), r"train part of toy is images uint8\[19, 2, 3, 3\].*not images uint8\[20, 2, 3, 3\]"),
        (arrays(test=5), r"test part of toy is images uint8\[5"),
        (dataclasses.replace(arrays(), test_labels=arrays().test_labels.astype(np.int32)), r"labels int32\[6\]"),
        (
            dataclasses.replace(arrays(), test_labels=arrays().test_labels + 4),
            r"test labels of toy are not within 0\.\.3",
        ),
        (dataclasses.replace(arrays(), train_labels=arrays().train_labels - 4), "train labels of toy are not within"),
    ],
)
def test_a_loader_that_breaks_its_announcement_is_refused(made: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        open_dataset(entry(lambda _: made))


@pytest.mark.parametrize(
    "error", [OSError("bad file"), EOFError("bad file"), KeyError("bad file"), data.zlib.error("bad file")]
)
def test_unreadable_files_are_one_clear_line(error: Exception, tmp_path: Path) -> None:
    def load(_: Path) -> Arrays:
        raise error

    with pytest.raises(BenchError, match=r"^toy in .* cannot be read: \w+: .*bad file") as caught:
        open_dataset(entry(load), tmp_path)
    assert "\n" not in str(caught.value)


def test_the_loader_is_given_the_folder(tmp_path: Path) -> None:
    seen = []
    open_dataset(entry(lambda folder: seen.append(folder) or arrays()), tmp_path)
    assert seen == [tmp_path]


def test_offline_refuses_an_absent_set_before_reading(tmp_path: Path) -> None:
    absent = entry(lambda _: pytest.fail("it was read"), layouts=(Layout("files", ("toy/a",)),), homepage="https://h")
    with pytest.raises(BenchError, match=r"toy is not in .* no download of it is known; see https://h"):
        open_dataset(absent, tmp_path, offline=True)
