"""Tiny ImageNet (Le & Yang 2015) from its tree, its zip archive, or tar archives of the same files.

Labels are the places of the wnids in sorted order, as torchvision's ImageFolder counts them. Training images come by
class and number, test images (the official validation set) by number. The official JPEG files are decoded by Pillow;
grey ones become RGB.
"""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synobench.data import Arrays
from synobench.errors import BenchError
from synobench.layouts import fetch_command
from synobench_datasets import catalogue

_TREE = "tiny-imagenet-200"
_WANTED = re.compile(
    rf"{_TREE}/(?:(?P<list>wnids\.txt|val/val_annotations\.txt)"
    r"|train/(?P<wnid>n\d+)/images/(?P=wnid)_(?P<number>\d+)\.JPEG|val/images/val_(?P<place>\d+)\.JPEG)"
)
_TRAIN = 100_000
_TEST = 10_000


@dataclass
class Files:
    """The files found, still as JPEG: by wnid and number (training), by number (validation), and the two lists."""

    train: dict[tuple[str, int], bytes] = field(default_factory=dict)
    val: dict[int, bytes] = field(default_factory=dict)
    lists: dict[str, str] = field(default_factory=dict)


def load_tiny_imagenet(folder: Path) -> Arrays:
    """Read the whole set from the data folder.

    Raises:
        BenchError: it is absent, or images are missing.
    """
    files = find_files(folder)
    found = ((len(files.train), _TRAIN, "training"), (len(files.val), _TEST, "validation"))
    for count, wanted, part in found:
        if count != wanted:
            remedy = f"fetch it whole with: {fetch_command('tiny-imagenet', folder)}"
            raise BenchError(f"tiny-imagenet in {folder} has {count:,} of {wanted:,} {part} images; {remedy}")
    return decode(files)


def find_files(folder: Path) -> Files:
    """Return the files of the fullest of the layouts in the folder, be they all or a part.

    Raises:
        BenchError: the lists of classes and of validation labels are not there.
    """
    files = max((_collect(members) for members in _sources(folder)), key=lambda f: len(f.train), default=Files())
    if len(files.lists) < 2:
        command = fetch_command("tiny-imagenet", folder)
        raise BenchError(f"{folder} lacks wnids.txt and val_annotations.txt of tiny-imagenet; fetch it with: {command}")
    return files


def decode(files: Files) -> Arrays:
    """Decode what is there: images [N, 3, 64, 64] and labels [N].

    Raises:
        BenchError: a file belongs to no class of the list, or is not 64 pixels wide and high.
    """
    labels = {wnid: label for label, wnid in enumerate(sorted(files.lists["wnids.txt"].split()))}
    rows = [line.split("\t") for line in files.lists["val_annotations.txt"].splitlines()]
    wnids = {int(row[0].removeprefix("val_").removesuffix(".JPEG")): row[1] for row in rows}
    train, val = sorted(files.train), sorted(files.val)
    strange = {wnid for wnid, _ in train} - labels.keys() | {str(n) for n in val if wnids.get(n) not in labels}
    if strange:
        raise BenchError(f"images of tiny-imagenet have no label: {', '.join(sorted(strange)[:3])}")
    return Arrays(
        _pixels([files.train[key] for key in train]),
        np.array([labels[wnid] for wnid, _ in train], dtype=np.int64),
        _pixels([files.val[number] for number in val]),
        np.array([labels[wnids[number]] for number in val], dtype=np.int64),
    )


def _pixels(images: Sequence[bytes]) -> NDArray[np.uint8]:
    from PIL import Image

    out = np.empty((len(images), 3, 64, 64), dtype=np.uint8)
    for place, data in enumerate(images):
        with Image.open(io.BytesIO(data)) as image:
            if image.size != (64, 64):
                raise BenchError(f"an image of tiny-imagenet is {image.size[0]} x {image.size[1]}, not 64 x 64")
            out[place] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    return out


def _sources(folder: Path) -> Iterator[Iterator[tuple[str, bytes]]]:
    if (folder / _TREE).is_dir():
        yield _from_tree(folder)
    if (folder / f"{_TREE}.zip").is_file():
        yield _from_zip(folder / f"{_TREE}.zip")
    archives = [path for name in catalogue.TINY_IMAGENET[-1].files if (path := folder / name).is_file()]
    if archives:
        yield _from_tars(archives)


def _collect(members: Iterator[tuple[str, bytes]]) -> Files:
    files = Files()
    for name, data in members:
        match = _WANTED.fullmatch(name)
        if match is None:
            continue
        if match["list"]:
            files.lists[match["list"].rpartition("/")[2]] = data.decode()
        elif match["wnid"]:
            files.train[match["wnid"], int(match["number"])] = data
        else:
            files.val[int(match["place"])] = data
    return files


def _from_tree(folder: Path) -> Iterator[tuple[str, bytes]]:
    for pattern in ("wnids.txt", "val/val_annotations.txt", "val/images/*.JPEG", "train/*/images/*.JPEG"):
        for path in (folder / _TREE).glob(pattern):
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def _from_zip(archive: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as whole:
        for name in filter(_WANTED.fullmatch, whole.namelist()):
            yield name, whole.read(name)


def _from_tars(archives: list[Path]) -> Iterator[tuple[str, bytes]]:
    for archive in archives:
        with tarfile.open(archive, "r|xz") as tar:
            for member in tar:
                stream = tar.extractfile(member) if _WANTED.fullmatch(member.name) else None
                if stream is not None:
                    yield member.name, stream.read()
