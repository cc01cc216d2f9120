"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from binary or python files, their archives, or packed as lossless WebP.

All give the same arrays: images [N, 3, 32, 32] in the order of the official files; CIFAR-100 has its 100 fine labels.
Binary: an image is its label bytes (CIFAR-100: superclass, class) and 3,072 pixel bytes, red, green, blue, row by row.
Packed: a zip with ``images/*.webp``, images one below the other, ``labels.u8`` or ``fine_labels.u8``, and for images
in another order ``positions.u16le``, the place of each in the official file.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from synobench.data import Arrays
from synobench.entries import Layout
from synobench.errors import BenchError
from synobench.layouts import need_layout
from synobench_datasets import catalogue
from synobench_datasets.pickles import read_batch

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Part:
    """What a file holds: images [N, 3, 32, 32], labels [N] and, where reordered, their places in the official file."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    positions: NDArray[np.int64] | None = None


def load_cifar_10(folder: Path) -> Arrays:
    """Read CIFAR-10 from the data folder."""
    return _load("cifar-10", catalogue.CIFAR_10, folder, ("labels",))


def load_cifar_100(folder: Path) -> Arrays:
    """Read CIFAR-100 with its fine labels from the data folder."""
    return _load("cifar-100", catalogue.CIFAR_100, folder, ("coarse_labels", "fine_labels"))


def _load(name: str, layouts: tuple[Layout, ...], folder: Path, labels: tuple[str, ...]) -> Arrays:
    layout = need_layout(name, layouts, folder)
    wanted = layout.files
    if layout.name.endswith("archive"):
        wanted = next(other for other in layouts if other.name == layout.name.replace("archive", "files")).files
        contents = _members(folder / layout.files[0], wanted)
    else:
        contents = {file: (folder / file).read_bytes() for file in wanted}
    readers: dict[str, Callable[[str, bytes, tuple[str, ...]], Part]]
    readers = {"binary": read_binary, "python": read_python, "packed": read_packed}
    read = readers[layout.name.split()[0]]
    parts = [read(file, contents.pop(file), labels) for file in wanted]
    train = _join(parts[:-1])
    return Arrays(train.images, train.labels, parts[-1].images, parts[-1].labels)


def _members(archive: Path, wanted: tuple[str, ...]) -> dict[str, bytes]:
    """Return the contents of the wanted members of a .tar.gz; nothing is extracted to disk."""
    found: dict[str, bytes] = {}
    with tarfile.open(archive, "r|gz") as tar:
        for member in tar:
            name = str(PurePosixPath(member.name))
            stream = tar.extractfile(member) if name in wanted else None
            if stream is not None:
                found[name] = stream.read()
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise BenchError(f"{archive} lacks {', '.join(lacking)}")
    return found


def _join(parts: list[Part]) -> Part:
    """Join parts of the training set; parts of one reordered file are put back into its order."""
    images = np.concatenate([part.images for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    places = [part.positions for part in parts if part.positions is not None]
    if not places:
        return Part(images, labels)
    order = np.argsort(np.concatenate(places), kind="stable")
    return Part(images[order], labels[order])


def read_binary(file: str, data: bytes, labels: tuple[str, ...]) -> Part:
    """Read a file of the binary version; the last of an image's label bytes is its class.

    Raises:
        BenchError: its length is not a whole number of images.
    """
    width = len(labels) + _PIXELS
    if not data or len(data) % width:
        raise BenchError(f"{file} holds {len(data)} bytes, which is not a multiple of {width}")
    rows = np.frombuffer(data, np.uint8).reshape(-1, width)
    return Part(_images(rows[:, len(labels) :]), rows[:, len(labels) - 1].astype(np.int64))


def read_python(file: str, data: bytes, labels: tuple[str, ...]) -> Part:
    """Read a file of the python version, without executing what it may hold.

    Raises:
        BenchError: it is not a plain batch.
    """
    pixels, classes = read_batch(file, data, labels[-1])
    return Part(_images(pixels), classes)


def read_packed(file: str, data: bytes, labels: tuple[str, ...]) -> Part:
    """Read a zip of lossless WebP strips.

    Raises:
        BenchError: images, labels and positions are not equally many.
    """
    from PIL import Image

    strips: list[NDArray[np.uint8]] = []
    with zipfile.ZipFile(io.BytesIO(data)) as part:
        names = sorted(part.namelist())
        for name in (n for n in names if n.endswith(".webp")):
            with Image.open(io.BytesIO(part.read(name))) as strip:
                strips.append(np.asarray(strip.convert("RGB")).reshape(-1, 32, 32, 3))
        classes = np.frombuffer(part.read(f"{labels[-1]}.u8"), np.uint8).astype(np.int64)
        places = part.read("positions.u16le") if "positions.u16le" in names else None
    images = np.ascontiguousarray(np.concatenate(strips).transpose(0, 3, 1, 2))
    if len(images) != len(classes) or (places is not None and len(places) != 2 * len(classes)):
        raise BenchError(f"{file} holds {len(images)} images, but {len(classes)} labels or as many positions")
    return Part(images, classes, None if places is None else np.frombuffer(places, "<u2").astype(np.int64))


def _images(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rows).reshape(-1, 3, 32, 32)
