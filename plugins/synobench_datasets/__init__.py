"""Labelled image sets: digits (with scikit-learn), MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100 and Tiny ImageNet.

Citations are keys of ``references.bib`` in this package.
"""

from __future__ import annotations

from collections.abc import Iterable

from synobench.entries import DatasetEntry
from synobench.hookspecs import hookimpl
from synobench_datasets import catalogue

_CIFAR_HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"


@hookimpl
def synobench_datasets() -> Iterable[DatasetEntry]:
    """Register the six sets."""
    return (_digits(), _mnist(), _fashion_mnist(), _cifar_10(), _cifar_100(), _tiny_imagenet())


def _digits() -> DatasetEntry:
    return DatasetEntry(
        "digits",
        summary="handwritten digits, 8 x 8 grey, shipped with scikit-learn; 360 of its 1,797 images are the test set",
        citation="Alpaydin1998",
        run="synobench_datasets.digits:load_digits",
        shape=(1, 8, 8),
        classes=10,
        train=1_437,
        test=360,
        validation=180,
        mean=(0.3050,),
        std=(0.3758,),
        digest="sha256:0c3ac484409ac94e04f925c39fa60bc1dbc9e1473863810b52ec64b55137efa6",
        split="sha256:8231c2b441b6235ca038af2307964f22ae814516a66ef0543ee90f9cd06d89d3",
        license="CC BY 4.0",
        homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    )


def _mnist() -> DatasetEntry:
    return DatasetEntry(
        "mnist",
        summary="handwritten digits, 28 x 28 grey",
        citation="LeCun1998",
        run="synobench_datasets.idx:load_mnist",
        shape=(1, 28, 28),
        classes=10,
        train=60_000,
        test=10_000,
        validation=5_000,
        mean=(0.1307,),
        std=(0.3081,),
        digest="sha256:f03f67b1b8911ec41cbced5619d373025b283872e9aca9f1a33b78c4e4a82345",
        split="sha256:62d27721f3624729f3c9ad882da7e71fd2393097b45a46221c28a36312619cf8",
        files=catalogue.MNIST_FILES,
        layouts=catalogue.MNIST,
        license="CC BY-SA 3.0",
        homepage="http://yann.lecun.com/exdb/mnist/",
    )


def _fashion_mnist() -> DatasetEntry:
    return DatasetEntry(
        "fashion-mnist",
        summary="pieces of clothing, 28 x 28 grey",
        citation="Xiao2017",
        run="synobench_datasets.idx:load_fashion_mnist",
        shape=(1, 28, 28),
        classes=10,
        train=60_000,
        test=10_000,
        validation=5_000,
        mean=(0.2860,),
        std=(0.3530,),
        digest="sha256:4534a8a413eff65ac48ea6d77aeb47bd49d44cf9cad2a951a3d8866c8831a711",
        split="sha256:62d27721f3624729f3c9ad882da7e71fd2393097b45a46221c28a36312619cf8",
        files=catalogue.FASHION_MNIST_FILES,
        layouts=catalogue.FASHION_MNIST,
        license="MIT",
        homepage="https://github.com/zalandoresearch/fashion-mnist",
    )


def _cifar_10() -> DatasetEntry:
    return DatasetEntry(
        "cifar-10",
        summary="photographs of ten kinds of things, 32 x 32 colour",
        citation="Krizhevsky2009",
        run="synobench_datasets.cifar:load_cifar_10",
        shape=(3, 32, 32),
        classes=10,
        train=50_000,
        test=10_000,
        validation=5_000,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        digest="sha256:5e5e71ed4630d506c7721247a52e06e4d8039bf51773ffa53a56d97866d045ee",
        split="sha256:c813cb028ed37f8828285c51b0b1d5a57c57cc936fb682fe47744827d80d5613",
        files=catalogue.CIFAR_10_FILES,
        layouts=catalogue.CIFAR_10,
        license="none stated; its page asks to cite it",
        homepage=_CIFAR_HOME,
    )


def _cifar_100() -> DatasetEntry:
    return DatasetEntry(
        "cifar-100",
        summary="photographs of a hundred kinds of things (the fine labels), 32 x 32 colour",
        citation="Krizhevsky2009",
        run="synobench_datasets.cifar:load_cifar_100",
        shape=(3, 32, 32),
        classes=100,
        train=50_000,
        test=10_000,
        validation=5_000,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        digest="sha256:3f3dbf0eede812cf2be28edbda482d926b2b8a301a4f2a8a2d7fa09795f2032f",
        split="sha256:c813cb028ed37f8828285c51b0b1d5a57c57cc936fb682fe47744827d80d5613",
        files=catalogue.CIFAR_100_FILES,
        layouts=catalogue.CIFAR_100,
        license="none stated; its page asks to cite it",
        homepage=_CIFAR_HOME,
    )


def _tiny_imagenet() -> DatasetEntry:
    return DatasetEntry(
        "tiny-imagenet",
        summary="200 classes of ImageNet, 64 x 64 colour; the official validation images are the test set",
        citation="Le2015",
        run="synobench_datasets.tiny_imagenet:load_tiny_imagenet",
        shape=(3, 64, 64),
        classes=200,
        train=100_000,
        test=10_000,
        validation=10_000,
        mean=(0.4802, 0.4481, 0.3975),
        std=(0.2770, 0.2691, 0.2821),
        digest=None,
        split="sha256:c3e339b145d602b6217fb2cc1f46fb877654dbee6253c6ed82ec74b6b336313c",
        files=catalogue.TINY_IMAGENET_FILES,
        layouts=catalogue.TINY_IMAGENET,
        license="ImageNet's terms of access: non-commercial research and education only",
        homepage="http://cs231n.stanford.edu/",
    )
