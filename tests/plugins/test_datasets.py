"""The six sets: entries, readers of every layout on small made-up sets, and the real files of SYNOBENCH_DATA."""

from __future__ import annotations

import dataclasses
import gzip
import io
import lzma
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import synobench_datasets as plugin
from synobench.data import Arrays, content_digest, open_dataset, split_digest, split_indices
from synobench.entries import DatasetEntry
from synobench.errors import BenchError
from synobench.layouts import find_layout, status
from synobench_datasets import catalogue, cifar, idx, pickles, tiny_imagenet

ENTRIES: dict[str, DatasetEntry] = {entry.name: entry for entry in plugin.synobench_datasets()}
RNG = np.random.RandomState


def real(name: str) -> Path:
    """Return the folder of real files, or skip: they are found through the environment alone."""
    named = os.environ.get("SYNOBENCH_DATA")
    if not named:
        pytest.skip("SYNOBENCH_DATA is not set")
    if status(ENTRIES[name], Path(named)).state == "absent":
        pytest.skip(f"SYNOBENCH_DATA holds no {name}")
    return Path(named)


def same(left: Arrays, right: Arrays) -> bool:
    return content_digest(left) == content_digest(right)


# ------------------------------------------------------------------------------------------------ entries


def test_the_six_sets_are_registered() -> None:
    assert list(ENTRIES) == ["digits", "mnist", "fashion-mnist", "cifar-10", "cifar-100", "tiny-imagenet"]


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=list(ENTRIES))
def test_an_entry_is_complete(entry: DatasetEntry) -> None:
    references = (Path(plugin.__file__).parent / "references.bib").read_text(encoding="utf-8")
    assert f"{{{entry.citation}," in references
    assert entry.license
    assert entry.homepage.startswith("http")
    assert len(entry.mean) == len(entry.std) == entry.shape[0]
    assert entry.split == split_digest(split_indices(entry.train, entry.validation))
    for file in entry.files:
        assert len(file.urls) >= 2
        assert file.size
        assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", file.digest)
        assert all(url.endswith("/" + file.path.rpartition("/")[2]) for url in file.urls)


@pytest.mark.parametrize("entry", [e for e in ENTRIES.values() if e.files], ids=lambda e: e.name)
def test_what_is_downloaded_is_a_layout_that_is_read(entry: DatasetEntry, tmp_path: Path) -> None:
    for file in entry.files:
        (tmp_path / file.path).parent.mkdir(exist_ok=True)
        (tmp_path / file.path).touch()
    assert find_layout(entry.layouts, tmp_path) is not None


@pytest.mark.parametrize("entry", [e for e in ENTRIES.values() if e.files], ids=lambda e: e.name)
def test_an_absent_set_is_one_line(entry: DatasetEntry, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=rf"fetch it.* with: synobench data fetch {entry.name} --data ") as caught:
        entry.load()(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_package_is_light_and_reading_needs_no_torch(tmp_path: Path) -> None:
    idx_set(tmp_path / "mnist", "")
    code = (
        "import sys; sys.modules['torch'] = None; from pathlib import Path; import synobench_datasets as plugin\n"
        "assert not {'numpy', 'pandas', 'PIL', 'rich'} & set(sys.modules)\n"
        "print(plugin.synobench_datasets()[1].load()(Path(sys.argv[1])).train_images.shape)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("(7, 1, 28, 28)\n", "")


# ------------------------------------------------------------------------------------------------ digits


def test_digits_are_all_of_scikit_learns_once(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    arrays: Arrays = ENTRIES["digits"].load()(tmp_path)
    ours = np.concatenate([arrays.train_images, arrays.test_images])[:, 0]
    labels = np.concatenate([arrays.train_labels, arrays.test_labels])
    theirs = load_digits()
    rows = sorted((label, image.tobytes()) for image, label in zip(ours, labels, strict=True))
    spread = [np.array([int(255 * v / 16 + 0.5) for v in image.flat], np.uint8) for image in theirs.images]
    assert rows == sorted((label, image.tobytes()) for image, label in zip(spread, theirs.target, strict=True))
    assert set(np.bincount(arrays.test_labels) > 25) == {True}


def test_digits_open_with_the_declared_digests(tmp_path: Path) -> None:
    splits = open_dataset(ENTRIES["digits"], tmp_path, offline=True)
    assert [len(v) for v in (splits.train, splits.validation, splits.unseal())] == [1257, 180, 360]


# ------------------------------------------------------------------------------------------------ IDX


def idx_bytes(array: np.ndarray[Any, Any]) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def idx_set(folder: Path, end: str) -> Arrays:
    draw = RNG(0)
    images, tests = (draw.randint(0, 256, (n, 28, 28)).astype(np.uint8) for n in (7, 3))
    labels, test_labels = (draw.randint(0, 10, n).astype(np.uint8) for n in (7, 3))
    folder.mkdir(parents=True)
    for name, array in zip(catalogue.IDX, (images, labels, tests, test_labels), strict=True):
        raw = idx_bytes(array)
        (folder / f"{name}{end}").write_bytes(gzip.compress(raw) if end else raw)
    return Arrays(images[:, None], labels.astype("i8"), tests[:, None], test_labels.astype("i8"))


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize(
    ("place", "load"),
    [
        ("mnist", idx.load_mnist),
        ("MNIST/raw", idx.load_mnist),
        ("fashion-mnist", idx.load_fashion_mnist),
        ("FashionMNIST/raw", idx.load_fashion_mnist),
    ],
)
def test_idx_files_are_read_from_each_place(
    place: str, end: str, load: Callable[[Path], Arrays], tmp_path: Path
) -> None:
    made = idx_set(tmp_path / place, end)
    assert same(load(tmp_path), made)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"<html>", "not an IDX file"),
        (b"", "not an IDX file"),
        (struct.pack(">HBBI", 0, 13, 1, 2) + bytes(8), "not an IDX file of unsigned bytes"),
        (struct.pack(">HBB", 0, 8, 3), "not an IDX file"),
        (struct.pack(">HBBI", 0, 8, 1, 5) + bytes(4), "holds 4 bytes of data where its header says 5"),
        (struct.pack(">HBBI", 0, 8, 1, 5) + bytes(6), "holds 6 bytes of data where its header says 5"),
    ],
)
def test_a_malformed_idx_file_is_refused(raw: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(raw)
    with pytest.raises(BenchError, match=message):
        idx.read_idx(tmp_path / "x")


def test_a_broken_gzip_is_one_line(tmp_path: Path) -> None:
    idx_set(tmp_path / "mnist", ".gz")
    first = tmp_path / "mnist" / f"{catalogue.IDX[0]}.gz"
    first.write_bytes(first.read_bytes()[:-20])
    with pytest.raises(BenchError, match=r"mnist in .* cannot be read: EOFError"):
        open_dataset(ENTRIES["mnist"], tmp_path)


# ------------------------------------------------------------------------------------------------ CIFAR


@dataclasses.dataclass
class Batch:
    images: np.ndarray[Any, Any]
    labels: dict[str, np.ndarray[Any, Any]]

    def binary(self) -> bytes:
        return np.column_stack([*self.labels.values(), self.images.reshape(len(self.images), -1)]).tobytes()

    def python(self) -> bytes:
        """Write a protocol 2 pickle as Python 2 did: byte strings, and numpy's array of bytes."""
        return python_2_pickle({**{k: v.tolist() for k, v in self.labels.items()}, "data": self.images})

    def packed(self, keep: np.ndarray[Any, Any] | None = None) -> bytes:
        out = io.BytesIO()
        rows = np.arange(len(self.images)) if keep is None else keep
        with zipfile.ZipFile(out, "w") as part:
            for place, start in enumerate(range(0, len(rows), 5)):
                strip = self.images[rows[start : start + 5]].transpose(0, 2, 3, 1).reshape(-1, 32, 3)
                image = io.BytesIO()
                Image.fromarray(strip).save(image, "webp", lossless=True, exact=True)
                part.writestr(f"images/{place:03}.webp", image.getvalue())
            for name, values in self.labels.items():
                part.writestr(f"{name}.u8", values[rows].tobytes())
            if keep is not None:
                part.writestr("positions.u16le", rows.astype("<u2").tobytes())
        return out.getvalue()


def python_2_pickle(batch: dict[str, Any]) -> bytes:
    out = b"\x80\x02}("
    for key, value in batch.items():
        out += b"U" + bytes([len(key)]) + key.encode()
        if isinstance(value, list):
            out += b"](" + b"".join(b"K" + bytes([v]) for v in value) + b"e"
            continue
        raw, size = value.tobytes(), struct.pack("<i", len(value))
        out += b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        out += b"J" + size + b"M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        out += (
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<I", len(raw)) + raw + b"tb"
        )
    return out + b"u."


def batch(seed: int, count: int, *labels: str) -> Batch:
    draw = RNG(seed)
    images = draw.randint(0, 256, (count, 3, 32, 32)).astype(np.uint8)
    return Batch(images, {name: draw.randint(0, 10 * (i + 1), count).astype(np.uint8) for i, name in enumerate(labels)})


def cifar_10(folder: Path, layout: str) -> Arrays:
    batches = [batch(seed, 6, "labels") for seed in range(6)]
    names = next(known for known in catalogue.CIFAR_10 if known.name == layout).files
    for made, name in zip(batches, names, strict=True):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(getattr(made, layout.split(maxsplit=1)[0])())
    images = np.concatenate([made.images for made in batches[:5]])
    labels = np.concatenate([made.labels["labels"] for made in batches[:5]])
    return Arrays(images, labels.astype("i8"), batches[5].images, batches[5].labels["labels"].astype("i8"))


def cifar_100(folder: Path, layout: str) -> Arrays:
    train, test = batch(1, 20, "coarse_labels", "fine_labels"), batch(2, 6, "coarse_labels", "fine_labels")
    kind = layout.split(maxsplit=1)[0]
    contents = [getattr(train, kind)(), getattr(test, kind)()]
    if layout == "packed":
        order = RNG(3).permutation(20)
        contents = [train.packed(order[:11]), train.packed(order[11:]), test.packed()]
    names = next(known for known in catalogue.CIFAR_100 if known.name == layout).files
    for content, name in zip(contents, names, strict=True):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content)
    fine, test_fine = (made.labels["fine_labels"].astype("i8") for made in (train, test))
    return Arrays(train.images, fine, test.images, test_fine)


def archive(folder: Path, name: str) -> None:
    """Replace the one folder below `folder` by its .tar.gz, with the members in no order and strangers among them."""
    (inside,) = folder.iterdir()
    with tarfile.open(folder / name, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo(f"{inside.name}/readme.html"))
        for path in sorted(inside.iterdir(), reverse=True):
            tar.add(path, f"./{inside.name}/{path.name}")
    shutil.rmtree(inside)


@pytest.mark.parametrize("layout", ["binary files", "python files", "packed"])
def test_cifar_is_the_same_from_each_layout(layout: str, tmp_path: Path) -> None:
    assert same(cifar_10(tmp_path, layout), cifar.load_cifar_10(tmp_path))
    assert same(cifar_100(tmp_path, layout), cifar.load_cifar_100(tmp_path))


@pytest.mark.parametrize("layout", ["binary", "python"])
def test_cifar_is_read_from_its_archives(layout: str, tmp_path: Path) -> None:
    ten, hundred = cifar_10(tmp_path / "10", f"{layout} files"), cifar_100(tmp_path / "100", f"{layout} files")
    archive(tmp_path / "10", f"cifar-10-{layout}.tar.gz")
    archive(tmp_path / "100", f"cifar-100-{layout}.tar.gz")
    assert same(ten, cifar.load_cifar_10(tmp_path / "10"))
    assert same(hundred, cifar.load_cifar_100(tmp_path / "100"))
    assert [p.name for p in (tmp_path / "10").iterdir()] == [f"cifar-10-{layout}.tar.gz"]


def test_an_archive_that_lacks_a_batch_is_refused(tmp_path: Path) -> None:
    cifar_10(tmp_path, "binary files")
    (tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    archive(tmp_path, "cifar-10-binary.tar.gz")
    with pytest.raises(BenchError, match=r"lacks cifar-10-batches-bin/data_batch_3\.bin"):
        cifar.load_cifar_10(tmp_path)


def test_a_cut_archive_is_one_line(tmp_path: Path) -> None:
    cifar_10(tmp_path, "binary files")
    archive(tmp_path, "cifar-10-binary.tar.gz")
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BenchError, match=r"cifar-10 in .* cannot be read: \w+"):
        open_dataset(ENTRIES["cifar-10"], tmp_path)


def test_a_cut_binary_batch_is_refused() -> None:
    raw = batch(0, 2, "labels").binary()
    for wrong in (raw[:-1], b""):
        with pytest.raises(BenchError, match=r"x holds .* not a multiple of 3073"):
            cifar.read_binary("x", wrong, ("labels",))


def test_a_packed_part_with_too_few_labels_is_refused() -> None:
    made = batch(0, 6, "labels")
    made.labels["labels"] = np.zeros(7, np.uint8)
    made.images = np.concatenate([made.images, made.images[:1]])
    raw = made.packed()
    with zipfile.ZipFile(io.BytesIO(raw)) as whole, zipfile.ZipFile(out := io.BytesIO(), "w") as cut:
        for name in whole.namelist():
            cut.writestr(name, whole.read(name)[:-1] if name == "labels.u8" else whole.read(name))
    with pytest.raises(BenchError, match="x holds 7 images, but 6 labels"):
        cifar.read_packed("x", out.getvalue(), ("labels",))


# ------------------------------------------------------------------------------------------------ pickles


class Malice:
    """A pickle that writes a file when it is executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.path}",))


def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    raw = pickle.dumps({"data": Malice(touched), "labels": [1]}, protocol=2)
    with pytest.raises(BenchError, match=r"^batch is refused.*it would call \w+\.system$"):
        pickles.read_batch("batch", raw, "labels")
    assert not touched.exists()
    pickle.loads(raw)
    assert touched.exists(), "the pickle was harmless, and proved nothing"


def test_a_malicious_batch_stops_the_loader(tmp_path: Path) -> None:
    cifar_10(tmp_path, "python files")
    bad = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    bad.write_bytes(pickle.dumps({"data": Malice(tmp_path / "touched"), "labels": [1]}, protocol=2))
    with pytest.raises(BenchError, match=r"^cifar-10-batches-py/data_batch_2 is refused.*would call \w+\.system"):
        open_dataset(ENTRIES["cifar-10"], tmp_path)
    assert not (tmp_path / "touched").exists()


GLOBALS = ["builtins\neval", "numpy\nload", "numpy.core.multiarray\nscalar", "numpy\nfromfile", "os\nsystem"]


@pytest.mark.parametrize("name", [*GLOBALS, "numpy\nndarray.tofile", "codecs\nencode", "copyreg\n_reconstructor"])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(BenchError, match=re.escape(f"it would call {name.replace(chr(10), '.')}")):
        pickles.read_batch("x", b"\x80\x02c" + name.encode() + b"\n.", "labels")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not a pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": [1, 2], b"labels": [1]}),
        batch(0, 2, "labels").python()[:-900],
        batch(0, 2, "labels").python().replace(b"U\x02u1", b"U\x02O8"),
        batch(0, 2, "labels").python().replace(b"tb\x89T", b"tb\x88T"),
        batch(0, 2, "other").python(),
        python_2_pickle({"labels": [1, 2, 3], "data": np.zeros((2, 3072), np.uint8)}),
        b"\x80\x02cnumpy\ndtype\n(K\x01tb.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n}U\x01aK\x01sb.",
    ],
)
def test_what_is_no_batch_is_refused_in_one_line(raw: bytes) -> None:
    with pytest.raises(BenchError, match=r"^x is refused, not being a batch of CIFAR: ") as caught:
        pickles.read_batch("x", raw, "labels")
    assert "\n" not in str(caught.value)


def test_a_batch_of_todays_numpy_is_read_too() -> None:
    made = batch(0, 3, "labels")
    raw = pickle.dumps({b"data": made.images.reshape(3, -1), b"labels": made.labels["labels"].tolist()}, protocol=4)
    pixels, labels = pickles.read_batch("x", raw, "labels")
    assert (pixels.reshape(-1) == made.images.reshape(-1)).all()
    assert labels.tolist() == made.labels["labels"].tolist()


# ------------------------------------------------------------------------------------------------ Tiny ImageNet


WNIDS = ("n02", "n01")


def jpeg(shade: int, mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    image = Image.new(mode, (64, 64), shade if mode == "L" else (shade, 255 - shade, 7))
    image.paste(0, (32, 0, 64, 16))
    image.save(out, "jpeg", quality=95)
    return out.getvalue()


def tiny_files() -> dict[str, bytes]:
    root = "tiny-imagenet-200"
    files = {
        f"{root}/wnids.txt": "\n".join(WNIDS).encode(),
        f"{root}/val/val_annotations.txt": b"".join(
            f"val_{n}.JPEG\t{wnid}\t0\t0\t9\t9\n".encode() for n, wnid in ((0, "n01"), (1, "n02"), (10, "n01"))
        ),
        f"{root}/val/images/val_10.JPEG": jpeg(210),
        f"{root}/val/images/val_0.JPEG": jpeg(200),
        f"{root}/val/images/val_1.JPEG": jpeg(90, "L"),
        f"{root}/test/images/test_0.JPEG": b"not read",
        f"{root}/train/n02/n02_boxes.txt": b"not read",
    }
    shades = {("n02", 10): 40, ("n02", 2): 30, ("n01", 0): 10, ("n01", 3): 20}
    return files | {f"{root}/train/{w}/images/{w}_{n}.JPEG": jpeg(shade) for (w, n), shade in shades.items()}


def as_tree(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def as_zip(folder: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(folder / "tiny-imagenet-200.zip", "w") as whole:
        for name, content in files.items():
            whole.writestr(name, content)


def as_tars(folder: Path, files: dict[str, bytes]) -> None:
    (folder / "tiny-imagenet").mkdir()
    for part, held in (("val", "/val"), ("train-000-024", "/train")):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, content in files.items():
                if held in name or (part == "val" and "wnids" in name):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        (folder / "tiny-imagenet" / f"{part}.tar.xz").write_bytes(lzma.compress(out.getvalue(), preset=0))


@pytest.mark.parametrize("store", [as_tree, as_zip, as_tars])
def test_tiny_imagenet_is_the_same_from_each_layout(
    store: Callable[[Path, dict[str, bytes]], None], tmp_path: Path
) -> None:
    store(tmp_path, tiny_files())
    arrays = tiny_imagenet.decode(tiny_imagenet.find_files(tmp_path))
    assert arrays.train_images.shape == (4, 3, 64, 64)
    assert np.abs(arrays.train_images[:, 0, 50, 5].astype(int) - [10, 20, 30, 40]).max() <= 2
    assert np.abs(arrays.train_images[:, 1, 50, 5].astype(int) - [245, 235, 225, 215]).max() <= 2
    assert arrays.train_images[:, :, 5, 50].max() <= 2, "the upper right corner is black"
    assert arrays.train_labels.tolist() == [0, 0, 1, 1]
    assert arrays.test_labels.tolist() == [0, 1, 0]
    assert np.abs(arrays.test_images[:, 0, 50, 5].astype(int) - [200, 90, 210]).max() <= 2
    assert (arrays.test_images[1] == arrays.test_images[1, :1]).all(), "grey becomes RGB"


@pytest.mark.parametrize("store", [as_tree, as_zip, as_tars])
def test_a_part_of_tiny_imagenet_is_refused_with_its_count(
    store: Callable[[Path, dict[str, bytes]], None], tmp_path: Path
) -> None:
    store(tmp_path, tiny_files())
    with pytest.raises(
        BenchError, match="has 4 of 100,000 training images; fetch it whole with: synobench data"
    ) as caught:
        ENTRIES["tiny-imagenet"].load()(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_fullest_layout_of_tiny_imagenet_is_taken(tmp_path: Path) -> None:
    files = tiny_files()
    as_tree(tmp_path, {name: content for name, content in files.items() if "train/n02" not in name})
    as_zip(tmp_path, files)
    assert len(tiny_imagenet.find_files(tmp_path).train) == 4


def test_tiny_imagenet_without_its_lists_is_refused(tmp_path: Path) -> None:
    as_tree(tmp_path, {name: content for name, content in tiny_files().items() if "annotations" not in name})
    with pytest.raises(BenchError, match=r"lacks wnids.txt and val_annotations.txt"):
        tiny_imagenet.find_files(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train/n09/images/n09_1.JPEG", jpeg(1), "have no label: n09"),
        ("val/images/val_7.JPEG", jpeg(1), "have no label: 7"),
        ("wnids.txt", b"n01", "have no label: 1, n02"),
    ],
)
def test_an_image_without_a_label_is_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    as_tree(tmp_path, tiny_files() | {f"tiny-imagenet-200/{name}": content})
    with pytest.raises(BenchError, match=message):
        tiny_imagenet.decode(tiny_imagenet.find_files(tmp_path))


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (32, 64)).save(out, "jpeg")
    as_tree(tmp_path, tiny_files() | {"tiny-imagenet-200/val/images/val_0.JPEG": out.getvalue()})
    with pytest.raises(BenchError, match="is 32 x 64, not 64 x 64"):
        tiny_imagenet.decode(tiny_imagenet.find_files(tmp_path))


# ------------------------------------------------------------------------------------------------ the real files


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion-mnist", "cifar-10", "cifar-100"])
def test_the_real_set_opens_with_its_declared_digest_and_statistics(name: str) -> None:
    entry = ENTRIES[name]
    splits = open_dataset(entry, Path() if name == "digits" else real(name), offline=True)
    parts = (splits.train, splits.validation, splits.unseal())
    assert [len(part) for part in parts] == [entry.train - entry.validation, entry.validation, entry.test]
    assert all(set(np.unique(part.labels)) == set(range(entry.classes)) for part in parts)
    counts = sum(
        np.stack([np.bincount(part.images[:, c].reshape(-1), minlength=256) for c in range(entry.shape[0])])
        for part in parts[:2]
    )
    shares, levels = counts / counts.sum(1, keepdims=True), np.arange(256) / 255
    means = shares @ levels
    assert means.tolist() == pytest.approx(entry.mean, abs=1e-4)
    assert np.sqrt(shares @ levels**2 - means**2).tolist() == pytest.approx(entry.std, abs=1e-4)


def test_mnist_is_read_in_half_a_second() -> None:
    folder = real("mnist")
    seconds = []
    for _ in range(3):
        began = time.process_time()
        idx.load_mnist(folder)
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.5


def test_one_changed_byte_of_mnist_is_noticed(tmp_path: Path) -> None:
    folder = real("mnist")
    (tmp_path / "mnist").mkdir()
    layout = find_layout(catalogue.MNIST, folder)
    assert layout is not None
    for file, name in zip(layout.files, catalogue.IDX, strict=True):
        raw = (folder / file).read_bytes()
        raw = gzip.decompress(raw) if file.endswith(".gz") else raw
        (tmp_path / "mnist" / name).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]) if "t10k-l" in name else raw)
    with pytest.raises(BenchError, match="holds other data than announced"):
        open_dataset(ENTRIES["mnist"], tmp_path)


def test_the_real_part_of_tiny_imagenet_is_read_and_counted() -> None:
    folder = real("tiny-imagenet")
    files = tiny_imagenet.find_files(folder)
    few = tiny_imagenet.Files(
        {key: files.train[key] for key in sorted(files.train)[::7]},
        {key: files.val[key] for key in sorted(files.val)[::7]},
        files.lists,
    )
    arrays = tiny_imagenet.decode(few)
    assert set(arrays.train_labels) == set(range(200))
    assert len(set(arrays.test_labels)) == 200
    entry = ENTRIES["tiny-imagenet"]
    assert (arrays.test_images / 255).mean((0, 2, 3)).tolist() == pytest.approx(entry.mean, abs=0.01)
    if len(files.train) < 100_000:
        with pytest.raises(BenchError, match=f"has {len(files.train):,} of 100,000 training images"):
            entry.load()(folder)
