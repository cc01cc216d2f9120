r"""A small ridge system in single precision, refined until it is as good as one in double.

:math:`(A_S^T A_S + n\lambda I) d = A_S^T u` is multiplied and factorised in the matrix's own type; then d is corrected
by what its residual asks for. That is :math:`A_S^T (u - A_S d) - n\lambda d`: the difference is taken over rows,
where it loses nothing, before it is multiplied.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import get_blas_funcs, get_lapack_funcs
from torch import Tensor

ROUNDS = 6
"""Corrections at most; a system that needs more is left to double precision."""

SETTLED = 1e-5
"""A correction this small, next to d, is the last: each is a hundredth of the one before, or there are too many."""


def refined(rows: Tensor, image: Tensor, ridge: float) -> np.ndarray | None:
    """Return d [k], float64, for gathered rows [k, m] of A' and u [m]; None where single precision is not enough."""
    lines, wanted = rows.numpy(), image.numpy()
    multiply, (factorise, back) = get_blas_funcs("syrk", (lines,)), get_lapack_funcs(("potrf", "potrs"), (lines,))
    # The transpose has the order of FORTRAN: nothing is copied, and one triangle is all that is computed.
    products = multiply(1.0, lines.T, trans=1)
    products.ravel(order="K")[:: len(lines) + 1] += ridge
    factor, failed = factorise(products, clean=0, overwrite_a=1)
    if failed:
        return None
    found: np.ndarray = back(factor, lines @ wanted)[0].astype(np.float64)
    for _ in range(ROUNDS):
        left = wanted - found.astype(lines.dtype) @ lines
        step = back(factor, lines @ left - (ridge * found).astype(lines.dtype))[0]
        found += step
        if np.linalg.norm(step) <= SETTLED * np.linalg.norm(found):
            return found
    return None
