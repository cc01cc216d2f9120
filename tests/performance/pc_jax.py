"""The step by hand in JAX: closed form, one jitted function, weights and optimiser state given up to it (donated).

f_1(x_0) never changes, so stage 1 keeps its error z = x_1 - f_1(x_0) alone, and the prediction of stage 2 starts from
its feed-forward value.  `gram` also uses that z lies in the row space of W_2: z = u W_2, so that a sweep multiplies u
by W_2 W_2', and W_2 is used once before and once after.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from jax import lax
from jax import numpy as jnp
from pc_problem import BATCH, GAMMA, RATE, Array, Problem

Weights = list[tuple[Array, Array]]


def perceptron(weights: Weights, x: Array, y: Array, sweeps: int, gram: bool, unroll: bool) -> Weights:
    """Return the gradients of the three-layer network."""
    (w1, b1), (w2, b2), (w3, b3) = weights
    a1 = x @ w1.T + b1
    p1 = jax.nn.relu(a1)
    start = p1 @ w2.T + b2
    c3, square = y - b3, w2 @ w2.T

    def sweep(_: Any, held: tuple[Array, Array]) -> tuple[Array, Array]:
        z, x2 = held
        a2 = start + (z @ square if gram else z @ w2.T)
        e2 = x2 - jax.nn.relu(a2)
        d2 = jnp.where(a2 > 0, e2, 0)
        z = (1 - GAMMA) * z + GAMMA * (d2 if gram else d2 @ w2)
        return z, x2 - GAMMA * e2 + GAMMA * ((c3 - x2 @ w3.T) @ w3)

    held = (jnp.zeros_like(start if gram else p1), jax.nn.relu(start))
    if unroll:
        for _ in range(sweeps):
            held = sweep(None, held)
    z, x2 = held if unroll else lax.fori_loop(0, sweeps, sweep, held)
    a2 = start + (z @ square if gram else z @ w2.T)
    z = z @ w2 if gram else z
    errors = (jnp.where(a1 > 0, z, 0), jnp.where(a2 > 0, x2 - a2, 0), c3 - x2 @ w3.T)
    inputs = (x, p1 + z, x2)
    return [(e.T @ below / -BATCH, e.sum(0) / -BATCH) for e, below in zip(errors, inputs, strict=True)]


def conv(x: Array, w: Array) -> Array:
    """Return the convolution of x [N, H, W, C] with w [3, 3, C, O]: XLA's own, a product with all patches is slower."""
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def slope(x: Array, e: Array) -> Array:
    """Return the gradient of sum e conv(x, w) with respect to w [3, 3, C, O], by nine products of shifted maps."""
    (_, h, v, c), flat = x.shape, e.reshape(-1, e.shape[-1])
    wide = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    parts = [wide[:, i : i + h, j : j + v].reshape(-1, c).T @ flat for i in range(3) for j in range(3)]
    return jnp.stack(parts).reshape(3, 3, c, -1)


def pooled(a: Array) -> tuple[Array, Array]:
    """Return the largest of each 2x2 window, and which of the four it is (the first of equals)."""
    four = jnp.stack([a[:, i::2, j::2] for i in range(2) for j in range(2)])
    return four.max(0), four.argmax(0).astype(jnp.int8)


def spread(e: Array, place: Array) -> Array:
    """Put e back at the places of the largest."""
    n, h, w, c = e.shape
    rows = [jnp.stack([jnp.where(place == 2 * i + j, e, 0) for j in range(2)], 3) for i in range(2)]
    return jnp.stack(rows, 2).reshape(n, 2 * h, 2 * w, c)


def convolutional(weights: Weights, x: Array, y: Array, sweeps: int, ahead: bool) -> Weights:
    """Return the gradients of the convolutional network, channels innermost; pooling goes before relu.

    `ahead` skips what the error has not reached yet.
    """
    (last, bias), maps = weights[-1], weights[:-1]
    depth = len(weights)
    turned = [jnp.flip(w, (0, 1)).swapaxes(2, 3) for w, _ in maps]

    def predict(k: int, below: Array) -> tuple[Array, Array]:
        w, b = maps[k - 1]
        return pooled(conv(below, w) + b)

    states, tapes = {0: x}, {}
    for k in range(1, depth):
        tapes[k] = predict(k, states[k - 1])
        states[k] = jax.nn.relu(tapes[k][0])
    first = states[1]
    for t in range(1, sweeps + 1):
        lowest = max(1, depth - t) if ahead else 1
        flat = states[depth - 1].reshape(len(y), -1)
        pull = ((y - bias - flat @ last.T) @ last).reshape(states[depth - 1].shape)
        moved = dict(states)
        for k in range(depth - 1, lowest - 1, -1):
            high, place = tapes[k]
            error = states[k] - (first if k == 1 else jax.nn.relu(high))
            moved[k] = states[k] - GAMMA * error + GAMMA * pull
            if k > lowest:
                pull = conv(spread(jnp.where(high > 0, error, 0), place), turned[k - 1])
        states = moved
        for k in range(lowest + 1, depth):
            tapes[k] = predict(k, states[k - 1])
    flat = states[depth - 1].reshape(len(y), -1)
    error = (flat @ last.T + bias - y) / BATCH
    found = [(error.T @ flat, error.sum(0))]
    for k in range(depth - 1, 0, -1):
        high, place = tapes[k]
        error = (first if k == 1 else jax.nn.relu(high)) - states[k]
        wide = spread(jnp.where(high > 0, error, 0) / BATCH, place)
        found.append((slope(states[k - 1], wide), wide.sum((0, 1, 2))))
    return found[::-1]


def _in(problem: Problem) -> Weights:
    """Return the weights as XLA likes them: kernels [3, 3, C, O], the last layer's columns in the order N, H, W, C."""
    held = [(w.transpose(2, 3, 1, 0) if w.ndim == 4 else w, b) for w, b in problem.weights]
    if problem.net == "vgg5":
        w, b = held[-1]
        held[-1] = (w.reshape(len(w), -1, 2, 2).transpose(0, 2, 3, 1).reshape(len(w), -1), b)
    return jax.tree_util.tree_map(jnp.asarray, held)


def _out(problem: Problem, found: Weights) -> list[Array]:
    """Return gradients in torch's layout."""
    arrays = [np.asarray(g) for pair in found for g in pair]
    arrays = [g.transpose(3, 2, 0, 1) if g.ndim == 4 else g for g in arrays]
    if problem.net == "vgg5":
        w = arrays[-2]
        arrays[-2] = w.reshape(len(w), 2, 2, -1).transpose(0, 3, 1, 2).reshape(len(w), -1)
    return arrays


class Jax:
    """A side, by the function that gives the gradients."""

    def __init__(self, problem: Problem, mlp: Any, vgg5: Any) -> None:
        self.problem, self.weights = problem, _in(problem)
        inputs = problem.inputs.transpose(0, 2, 3, 1) if problem.net == "vgg5" else problem.inputs
        self.x, self.y = jnp.asarray(inputs), jnp.asarray(problem.target)
        self.slopes = partial(mlp if problem.net == "mlp" else vgg5, sweeps=problem.sweeps)
        self.optim = optax.adamw(RATE, weight_decay=0.0)
        self.state = self.optim.init(self.weights)
        self.step = jax.jit(self.take, donate_argnums=(0, 1))

    def take(self, weights: Weights, state: Any, x: Array, y: Array) -> tuple[Weights, Any]:
        """Return weights and optimiser state after a step."""
        updates, state = self.optim.update(self.slopes(weights, x, y), state, weights)
        return optax.apply_updates(weights, updates), state

    def gradients(self) -> list[Array]:
        """Return those of the first weights."""
        return _out(self.problem, jax.jit(self.slopes)(self.weights, self.x, self.y))

    def run(self, steps: int) -> None:
        """Take steps."""
        for _ in range(steps):
            self.weights, self.state = self.step(self.weights, self.state, self.x, self.y)
        jax.block_until_ready(self.weights)


def _side(*, gram: bool, unroll: bool, ahead: bool) -> Callable[[Problem], Jax]:
    mlp = partial(perceptron, gram=gram, unroll=unroll)
    vgg5 = partial(convolutional, ahead=ahead)
    return lambda problem: Jax(problem, mlp, vgg5)


SIDES = {
    "jax": _side(gram=False, unroll=True, ahead=False),
    "jax-loop": _side(gram=False, unroll=False, ahead=False),
    "jax-gram": _side(gram=True, unroll=True, ahead=False),
    "jax-gram-loop": _side(gram=True, unroll=False, ahead=False),
    "jax-wavefront": _side(gram=False, unroll=True, ahead=True),
}
