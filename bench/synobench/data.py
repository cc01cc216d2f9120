"""Data sets as the bench sees them: decoded arrays with a digest, one fixed split, a test view sealed until judging."""

from __future__ import annotations

import dataclasses
import hashlib
import lzma
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from synobench.entries import DatasetEntry
from synobench.errors import BenchError, ContractError, SealedError
from synobench.layouts import data_folder, describe, find_layout, layouts_of

__all__ = [
    "Arrays",
    "Sealed",
    "Splits",
    "View",
    "content_digest",
    "data_folder",
    "describe",
    "open_dataset",
    "split_digest",
    "split_indices",
]

SPLIT_SEED = 54321
"""Seeds the legacy stream of numpy.random.RandomState, which is frozen, so that the split is the same for ever."""

_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Arrays:
    """A decoded data set: images uint8 [N, C, H, W] and labels int64 [N], in the order of the official files."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


@dataclass(frozen=True)
class View:
    """One part of the split: images uint8 [N, C, H, W] and labels int64 [N]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


class Sealed:
    """Stands where the test view will be. Whatever is asked of it raises SealedError; it holds no data."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __repr__(self) -> str:
        return f"<test split of {object.__getattribute__(self, '_name')}, sealed until judging>"

    def __getattribute__(self, attribute: str) -> Any:
        # isinstance() looks at __class__, which tells nothing of the data.
        if attribute != "__class__":
            _refuse(self, f".{attribute}")
        return Sealed

    def __setattr__(self, attribute: str, value: object) -> NoReturn:
        _refuse(self, f".{attribute}")

    def __len__(self) -> NoReturn:  # noqa: PLE0303 - it never returns
        _refuse(self, "its length")

    def __bool__(self) -> NoReturn:  # noqa: PLE0304 - it never returns
        _refuse(self, "its truth value")

    def __iter__(self) -> NoReturn:
        _refuse(self, "iteration")

    def __contains__(self, item: object) -> NoReturn:
        _refuse(self, "membership")

    def __getitem__(self, index: object) -> NoReturn:
        _refuse(self, f"[{index!r}]")


class Splits:
    """The training and validation views, open, and the test view, sealed: `unseal` is the engine's, at judging."""

    __slots__ = ("_test", "sealed", "train", "validation")

    def __init__(self, name: str, train: View, validation: View, test: View) -> None:
        self.train = train
        self.validation = validation
        self.sealed = Sealed(name)
        self._test = test

    def unseal(self) -> View:
        """Return the test view."""
        return self._test


def content_digest(arrays: Arrays) -> str:
    """Return ``sha256:hex`` over names, dtypes, shapes and little-endian bytes, whatever layout they were read from."""
    state = hashlib.sha256()
    for field in dataclasses.fields(arrays):
        array = np.ascontiguousarray(getattr(arrays, field.name))
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        state.update(f"{field.name} {array.dtype.str} {array.shape}\n".encode())
        state.update(array.data)
    return f"sha256:{state.hexdigest()}"


def split_indices(total: int, held_out: int) -> NDArray[np.int64]:
    """Return the sorted indices [held_out] of the training images that are held out for validation."""
    order = np.random.RandomState(SPLIT_SEED).permutation(total)
    return np.sort(order[:held_out]).astype(np.int64)


def split_digest(indices: NDArray[np.int64]) -> str:
    """Return ``sha256:hex`` over the indices as little-endian 64-bit integers."""
    return f"sha256:{hashlib.sha256(indices.astype('<i8').tobytes()).hexdigest()}"


def open_dataset(entry: DatasetEntry, data: str | Path | None = None, offline: bool = False) -> Splits:
    """Find (else download), read, verify and split a data set.

    Raises:
        BenchError: it is absent and `offline`, cannot be downloaded, cannot be read, or has another digest.
        ContractError: its loader returned what the entry does not announce.
    """
    folder = data_folder(data)
    if layouts_of(entry) and find_layout(layouts_of(entry), folder) is None:
        from synobench.fetch import fetch

        fetch(entry, folder, offline)
    try:
        arrays = entry.load()(folder)
    except _UNREADABLE as error:
        raise BenchError(f"{entry.name} in {folder} cannot be read: {type(error).__name__}: {error}") from error
    _check_arrays(entry, arrays)
    _check_digest(entry, arrays, folder)
    return split(entry, arrays)


def split(entry: DatasetEntry, arrays: Arrays) -> Splits:
    """Split the arrays as the entry says and seal the test view.

    Raises:
        BenchError: the held-out indices have another digest than the entry declares.
    """
    indices = split_indices(entry.train, entry.validation)
    if split_digest(indices) != entry.split:
        raise BenchError(f"the split of {entry.name} is {split_digest(indices)}, but its entry declares {entry.split}")
    held_out = np.zeros(entry.train, dtype=bool)
    held_out[indices] = True
    train, validation = (View(arrays.train_images[part], arrays.train_labels[part]) for part in (~held_out, held_out))
    return Splits(entry.name, train, validation, View(arrays.test_images, arrays.test_labels))


def _check_arrays(entry: DatasetEntry, arrays: Any) -> None:
    if not isinstance(arrays, Arrays):
        raise ContractError(f"the loader of {entry.name} returned {type(arrays).__name__}, not synobench.data.Arrays")
    for part, count in (("train", entry.train), ("test", entry.test)):
        images, labels = getattr(arrays, f"{part}_images"), getattr(arrays, f"{part}_labels")
        got = (images.dtype, images.shape, labels.dtype, labels.shape)
        wanted = (np.dtype(np.uint8), (count, *entry.shape), np.dtype(np.int64), (count,))
        if got != wanted:
            raise ContractError(f"the {part} part of {entry.name} is {_tell(*got)}, not {_tell(*wanted)} as announced")
        if count and not 0 <= labels.min() <= labels.max() < entry.classes:
            raise ContractError(f"{part} labels of {entry.name} are not within 0..{entry.classes - 1}")


def _tell(kind: Any, shape: tuple[int, ...], label_kind: Any, label_shape: tuple[int, ...]) -> str:
    return f"images {kind}{list(shape)} and labels {label_kind}{list(label_shape)}"


def _check_digest(entry: DatasetEntry, arrays: Arrays, folder: Path) -> None:
    if entry.digest is None:
        return
    digest = content_digest(arrays)
    if digest != entry.digest:
        raise BenchError(
            f"{entry.name} in {folder} holds other data than announced: {digest} where {entry.digest} is declared; "
            "delete its files there and fetch them again"
        )


def _refuse(sealed: Sealed, what: str) -> NoReturn:
    name = object.__getattribute__(sealed, "_name")
    raise SealedError(f"the test split of {name} is sealed until judging: {what} was touched")
