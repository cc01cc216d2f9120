"""The optical digits that ship with scikit-learn (Alpaydin & Kaynak 1998), with a test set drawn once and for all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from synobench.data import Arrays

TEST = 360
"""Images of the test set."""

_TEST_SEED = 1797


def load_digits(folder: Path) -> Arrays:  # noqa: ARG001
    """Return the 8 x 8 images, their 17 grey levels spread over 0..255 as round(255 v / 16); needs no folder."""
    from sklearn import datasets

    read = datasets.load_digits()
    images = np.rint(read.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = read.target.astype(np.int64)
    # scikit-learn's order goes by writer: only a fixed permutation gives test and training images the same writers.
    order = np.random.RandomState(_TEST_SEED).permutation(len(labels))
    test, train = np.sort(order[:TEST]), np.sort(order[TEST:])
    return Arrays(images[train], labels[train], images[test], labels[test])
