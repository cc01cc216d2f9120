"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017), from IDX files, gzipped or not.

An IDX file is two zero bytes, a type code (8: unsigned byte), the number of axes, each axis as a big-endian 32-bit
integer, and the bytes in row-major order.
"""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synobench.data import Arrays
from synobench.entries import Layout
from synobench.errors import BenchError
from synobench.layouts import need_layout
from synobench_datasets import catalogue

_UNSIGNED_BYTE = 8


def load_mnist(folder: Path) -> Arrays:
    """Read MNIST from the data folder: images [N, 1, 28, 28]."""
    return _load("mnist", catalogue.MNIST, folder)


def load_fashion_mnist(folder: Path) -> Arrays:
    """Read Fashion-MNIST from the data folder: images [N, 1, 28, 28]."""
    return _load("fashion-mnist", catalogue.FASHION_MNIST, folder)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes.

    Raises:
        BenchError: it is no such file, or is shorter or longer than its header says.
    """
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if len(data) < 4 or data[:3] != bytes((0, 0, _UNSIGNED_BYTE)) or len(data) < 4 + 4 * data[3]:
        raise BenchError(f"{path} is not an IDX file of unsigned bytes")
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    start = 4 + 4 * len(shape)
    if len(data) - start != math.prod(shape):
        raise BenchError(f"{path} holds {len(data) - start} bytes of data where its header says {math.prod(shape)}")
    return np.frombuffer(bytearray(memoryview(data)[start:]), np.uint8).reshape(shape)


def _load(name: str, layouts: tuple[Layout, ...], folder: Path) -> Arrays:
    layout = need_layout(name, layouts, folder)
    images, labels, test_images, test_labels = (read_idx(folder / file) for file in layout.files)
    return Arrays(images[:, None], labels.astype(np.int64), test_images[:, None], test_labels.astype(np.int64))
