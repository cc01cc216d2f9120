r"""Exchanges within a pool of weights: each one exact, and none needs more than the pool's own numbers.

With :math:`q_{ij} = a_i^T K^{-1} a_j` over the pool, to remove i turns :math:`q_{jl}` into
:math:`q_{jl} + q_{ji} q_{il} / (1 - q_i)` and :math:`z_j` into :math:`z_j + q_{ij} z_i / (1 - q_i)`; to add i turns
them into :math:`q_{jl} - q_{ji} q_{il} / (1 + q_i)` and :math:`z_j - q_{ij} z_i / (1 + q_i)` (Sherman and Morrison).
So after any number of exchanges the costs and gains of all others are known, and no gradient is looked at.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST = 1e-12
"""What 1 - q is taken for at least: rounding may bring it to zero and below."""

Vector = NDArray[np.float64]


class Pool:
    """Weights that may be exchanged.

    Args:
        products: q over the pool, [c, c] float64.
        pull: z of its weights, [c] float64.
        inside: which of them are in the support, [c] bool.
        most: the most exchanges that will be made.
    """

    def __init__(self, products: Vector, pull: Vector, inside: NDArray[np.bool_], most: int) -> None:
        self.inside, self.pull, self.made = inside.copy(), pull.copy(), 0
        self.leverage = products.diagonal().copy()
        self._products = products
        # Changes of q are held apart, a column a change: what is asked for is made up when it is asked for.
        self._changes, self._signs = np.zeros((len(pull), 2 * most)), np.zeros(2 * most)

    def best(self, heads: int) -> tuple[int, int, float]:
        r"""Return the pair, of the cheapest and the most gainful weights, whose exchange lowers Q most.

        And by how much, over :math:`n\lambda/2`; negative where each would raise it.
        """
        out, into = np.flatnonzero(self.inside), np.flatnonzero(~self.inside)
        rest = np.maximum(1.0 - self.leverage, LEAST)
        out = _least(out, self.pull[out] ** 2 / rest[out], heads)
        into = _least(into, -(self.pull[into] ** 2) / (1.0 + self.leverage[into]), heads)
        if not len(out) or not len(into):
            return 0, 0, -np.inf
        shared, left, rest = self._shared(out, into), self.pull[out][:, None], rest[out][:, None]
        risen = (self.pull[into] + shared * left / rest) ** 2 / (1.0 + self.leverage[into] + shared**2 / rest)
        lowered = risen - left**2 / rest
        i, j = divmod(int(lowered.argmax()), len(into))
        return int(out[i]), int(into[j]), float(lowered[i, j])

    def exchange(self, out: int, into: int) -> None:
        """Take one weight out of the support and another one in."""
        self._toggle(out, 1.0)
        self._toggle(into, -1.0)

    def _toggle(self, place: int, sign: float) -> None:
        everything = np.arange(len(self.pull))
        column = self._shared(everything, np.array([place]))[:, 0]
        rest = max(1.0 - sign * self.leverage[place], LEAST)
        self.pull += sign * column * (self.pull[place] / rest)
        self.leverage += sign * column**2 / rest
        self._changes[:, self.made], self._signs[self.made] = column / np.sqrt(rest), sign
        self.inside[place] ^= True
        self.made += 1

    def _shared(self, some: NDArray[np.intp], others: NDArray[np.intp]) -> Vector:
        """Return q between two lists of places, after all changes so far."""
        changes, signs = self._changes[:, : self.made], self._signs[: self.made]
        found: Vector = self._products[np.ix_(some, others)] + (changes[some] * signs) @ changes[others].T
        return found


def _least(places: NDArray[np.intp], scores: Vector, most: int) -> NDArray[np.intp]:
    """Return the places of the `most` least scores, in the order of places."""
    if len(places) <= most:
        return places
    return places[np.sort(np.argpartition(scores, most - 1)[:most])]
