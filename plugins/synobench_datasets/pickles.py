"""The batches of CIFAR's python version, read without executing pickles.

A batch is a protocol 2 pickle, written by Python 2, of a dict with the pixels as one numpy array of bytes. The three
numpy names that such a pickle calls are replaced by classes of our own, which rebuild that one kind of array and
nothing else; any other name is refused before anything is imported.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synobench.errors import BenchError

_MALFORMED = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    MemoryError,
    RecursionError,
)


class _Array:
    """Stands for the array that numpy's ``_reconstruct`` makes and that its state then fills."""

    value: NDArray[np.uint8]

    def __init__(self, *_: object) -> None:
        """Take, and need, none of ``_reconstruct``'s arguments: the state says it all."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_column, data = state
        if not isinstance(kind, _Bytes) or by_column or not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array of another kind than unsigned bytes by row")
        self.value = np.frombuffer(data, np.uint8).reshape(shape)


class _Bytes:
    """Stands for the dtype of unsigned bytes."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in (b"u1", "u1"):
            raise pickle.UnpicklingError(f"an array of type {code!r}")

    def __setstate__(self, state: object) -> None:
        """Take byte order and the like, which bytes do not have."""


_ALLOWED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): _Bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it would call {module}.{name}")
        return _ALLOWED[module, name]


def read_batch(file: str, data: bytes, label: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the pixels [N, 3072] and the labels [N] of one batch.

    Raises:
        BenchError: the pickle is malformed, calls anything but numpy's array of bytes, or is no batch.
    """
    try:
        batch = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        pixels, classes = batch[b"data"].value, np.array(batch[label.encode()], dtype=np.int64)
        if pixels.shape != (len(classes), 3072) or classes.ndim != 1:
            raise ValueError(f"pixels {list(pixels.shape)} for labels {list(classes.shape)}")
    except _MALFORMED as error:
        raise BenchError(f"{file} is refused, not being a batch of CIFAR: {error}") from error
    return pixels, classes
