r"""Coordinate descent on a fixed support (Benbaki et al. 2023, section 3.3), one weight after the other.

.. math:: w_j \leftarrow w_j - \frac{a_j^T A(w - \bar w) + n\lambda (w_j - \bar w_j) + h_j}{\|a_j\|^2 + n\lambda}
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from synobench_chita.quadratic import CHUNK, Quadratic
from synobench_chita.search import Point


def coordinate_descent(problem: Quadratic, point: Point, support: Tensor, sweeps: int) -> Point:
    """Return the point after so many cyclic sweeps over the support, a mask [p]; Q never rises."""
    places = support.nonzero().view(-1)
    weights, image = point.weights.clone(), point.image.clone()
    for _ in range(sweeps):
        for part in torch.split(places, CHUNK):
            _sweep(problem, weights, image, part)
    return Point(weights, image, problem.combine(image, weights - problem.dense))


def _sweep(problem: Quadratic, weights: Tensor, image: Tensor, part: Tensor) -> None:
    columns = problem.matrix[part].double().cpu().numpy()
    residual = image.cpu().numpy()
    values, dense, linear = (v[part].cpu().numpy() for v in (weights, problem.dense, problem.linear))
    curvature = np.einsum("ij,ij->i", columns, columns) + problem.ridge
    for j, column in enumerate(columns):
        slope = column @ residual + problem.ridge * (values[j] - dense[j]) + linear[j]
        move = -slope / curvature[j]
        values[j] += move
        residual += move * column
    weights[part] = torch.from_numpy(values).to(weights)
    image.copy_(torch.from_numpy(residual))
