"""Exact evidence beside a verdict: McNemar's test on two hit masks, and the sign-flip test on paired differences.

McNemar (1947) asks whether two networks of one seed differ on the test images; flipping the signs of the differences
(Fisher 1935) asks it over seeds. Both enumerate or sum their distribution, nothing is approximated.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from synobench.errors import BenchError
from synobench.stats import special
from synobench.stats.intervals import finite

MOST_FLIPS = 40
"""The most differences whose signs are enumerated."""


@dataclass(frozen=True)
class Mcnemar:
    """Two networks on the same test images.

    Args:
        total: number of images.
        both, only_a, only_b, neither: how many were hit by whom.
        p: the exact two-sided binomial p of the images that one alone hits; 1 where there is none.
    """

    total: int
    both: int
    only_a: int
    only_b: int
    neither: int
    p: float

    @property
    def difference(self) -> float:
        """The accuracy of a less that of b."""
        return (self.only_a - self.only_b) / self.total


@dataclass(frozen=True)
class SignFlip:
    """The sign-flip test of `n` differences.

    Args:
        n: number of differences.
        p: the share of the 2^n signed sums that lie as far from 0 as the sum itself.
        floor: the least p that n differences can give, 2^(1 - n).
    """

    n: int
    p: float
    floor: float


_FEW = 8
"""Up to so many values their signed sums are compared one by one sooner than as arrays."""


def mcnemar(mask_a: str | bytes, mask_b: str | bytes, total: int) -> Mcnemar:
    """Compare two hit masks of `total` images (a bit an image, the first in the highest bit), as base64 or bytes.

    Raises:
        BenchError: a mask is no base64, has another length, or has bits behind its last image.
    """
    a, b = (_bits(mask, total) for mask in (mask_a, mask_b))
    both, only_a, only_b = (a & b).bit_count(), (a & ~b).bit_count(), (b & ~a).bit_count()
    p = min(1.0, 2 * float(special.bdtr(min(only_a, only_b), only_a + only_b, 0.5)))
    return Mcnemar(total, both, only_a, only_b, total - both - only_a - only_b, p)


def sign_flip(differences: Iterable[float]) -> SignFlip | None:
    """Test whether the differences lie around 0; None where there is none, or more than `MOST_FLIPS`.

    Raises:
        BenchError: a difference is NaN or infinite.
    """
    held = finite(differences, "the differences")
    n = len(held)
    if not 0 < n <= MOST_FLIPS:
        return None
    slack = 1e-9 * math.fsum(map(abs, held))  # sums that differ by rounding alone are ties
    bound = abs(math.fsum(held)) - slack
    if bound <= 0:
        return SignFlip(n, 1.0, 2.0 ** (1 - n))
    return SignFlip(n, 2 * _reaching(held, bound) / 2**n, 2.0 ** (1 - n))


def _bits(mask: str | bytes, total: int) -> int:
    if total < 1:
        raise BenchError("a hit mask needs one test image at least")
    try:
        held = base64.b64decode(mask, validate=True) if isinstance(mask, str) else mask
    except (binascii.Error, ValueError):
        raise BenchError("a hit mask is base64 text, a bit a test image") from None
    if len(held) != (total + 7) // 8:
        raise BenchError(f"a hit mask has {len(held)} bytes, {total} images need {(total + 7) // 8}")
    bits, spare = int.from_bytes(held, "big"), -total % 8
    if bits & ((1 << spare) - 1):
        raise BenchError(f"a hit mask has bits behind its last image, number {total}")
    return bits


def _reaching(values: list[float], bound: float) -> int:
    """Return how many of the sums of all values, each with either sign, reach a bound."""
    middle = len(values) // 2
    left, right = _signed_sums(values[:middle]), _signed_sums(values[middle:])
    if len(values) <= _FEW:
        ends = [bound - one for one in left]
        return sum([other >= end for end in ends for other in right])
    ordered = np.sort(right)
    return int((len(right) - np.searchsorted(ordered, bound - np.array(left), side="left")).sum())


def _signed_sums(values: list[float]) -> list[float]:
    sums = [0.0]
    for value in values:
        sums = [*[one + value for one in sums], *[one - value for one in sums]]
    return sums
