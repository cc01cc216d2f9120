"""Batches of a split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synobench.feed import Feed


def feed(count: int, channels: int = 1) -> Feed:
    images = np.random.RandomState(0).randint(0, 256, (count, channels, 2, 2)).astype(np.uint8)
    return Feed(images, np.arange(count), [0.5, 0.25][:channels], [0.25, 0.5][:channels])


@given(st.integers(1, 40), st.integers(1, 45))
def test_every_image_comes_once_and_batches_are_counted(total: int, size: int) -> None:
    found = feed(total)
    batches = [labels.tolist() for _, labels in found.batches(size)]
    assert [label for batch in batches for label in batch] == list(range(total))
    assert len(batches) == found.count(size)
    assert all(len(b) == size for b in batches[:-1])


@pytest.mark.parametrize(("total", "sizes"), [(7, [3, 4]), (8, [3, 3, 2]), (3, [3]), (1, [1])])
def test_a_last_batch_of_one_joins_the_one_before(total: int, sizes: list[int]) -> None:
    assert [len(labels) for _, labels in feed(total).batches(3)] == sizes


def test_batches_of_one_stay_so() -> None:
    assert [len(labels) for _, labels in feed(4).batches(1)] == [1, 1, 1, 1]


def test_an_order_is_followed() -> None:
    order = torch.tensor([4, 0, 2, 2])
    assert [labels.tolist() for _, labels in feed(5).batches(3, order)] == [[4, 0, 2, 2]]


def test_inputs_are_pixels_scaled_and_standardised_by_channel() -> None:
    images = np.array([[[[0, 255]], [[51, 102]]]], dtype=np.uint8)
    inputs, labels = Feed(images, np.array([3]), (0.5, 0.25), (0.25, 0.5)).take(slice(None))
    assert inputs.dtype == torch.float32
    assert torch.allclose(inputs, torch.tensor([[[[-2.0, 2.0]], [[-0.1, 0.3]]]]), atol=1e-6)
    assert labels.tolist() == [3]


def test_taking_leaves_the_pixels_as_they_are() -> None:
    found = feed(4)
    first = found.take(slice(0, 2))[0].clone()
    found.take(slice(0, 2))[0].zero_()
    assert torch.equal(found.take(slice(0, 2))[0], first)
