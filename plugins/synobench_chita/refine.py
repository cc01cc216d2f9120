r"""A small ridge system in single precision, refined until it is as good as one in double.

:math:`(A_S^T A_S + n\lambda I) d = A_S^T u` is multiplied and factorised in the matrix's own type, in the form of the
smaller side: that one, or :math:`(A_S A_S^T + n\lambda I) \nu = u` with :math:`d = A_S^T \nu`. Then the solution is
corrected by what its residual asks for: the difference :math:`u - A_S d` is taken over rows, where it loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs, get_lapack_funcs

ROUNDS = 6
"""Corrections at most; a system that needs more is left to double precision."""

SETTLED = 1e-5
"""How far the solution may still be off, relative: each correction tells how much smaller the next one is."""

Lines = NDArray[np.floating]


def refined(lines: Lines, image: Lines, ridge: float) -> NDArray[np.float64] | None:
    """Return d [k], float64, for gathered rows [k, m] of A' and u [m]; None where single precision is not enough."""
    if not lines.size:
        return np.zeros(len(lines))
    upright = len(lines) <= lines.shape[1]
    solve = _factorised(lines, upright, ridge)
    if solve is None:
        return None
    found = solve(lines @ image if upright else image).astype(np.float64)
    last = 1.0
    for _ in range(ROUNDS):
        slim = found.astype(lines.dtype)
        left = image - (slim if upright else lines @ slim) @ lines
        step = solve((lines @ left if upright else left) - (ridge * found).astype(lines.dtype))
        found += step
        size = float(np.linalg.norm(step)) / max(float(np.linalg.norm(found)), 1e-300)
        # Corrections shrink by a constant factor: what is left is this one times that factor.
        if size * min(1.0, size / last) <= SETTLED:
            return found if upright else (lines @ found.astype(lines.dtype)).astype(np.float64)
        last = max(size, 1e-300)
    return None


def _factorised(lines: Lines, upright: bool, ridge: float) -> Callable[[Lines], Lines] | None:
    """Return what solves with lines lines' + ridge I, or lines' lines + ridge I; None where that is singular."""
    multiply, (factorise, back) = get_blas_funcs("syrk", (lines,)), get_lapack_funcs(("potrf", "potrs"), (lines,))
    # The transpose has the order of FORTRAN, and one triangle is all that is computed.
    products = multiply(1.0, lines.T, trans=int(upright))
    products.ravel(order="K")[:: len(products) + 1] += ridge
    factor, failed = factorise(products, clean=0, overwrite_a=1)
    return None if failed else lambda right: back(factor, right)[0]
