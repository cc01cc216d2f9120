"""The step as pcx's tutorials write it (its examples 0 and 4): Vodes, masks, one jitted function a step."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import pcx as px
import pcx.functional as pxf
import pcx.nn as pxnn
import pcx.predictive_coding as pxc
import pcx.utils as pxu
from pc_problem import BATCH, GAMMA, RATE, Array, Problem

STATES = pxc.VodeParam | pxc.VodeParam.Cache


class Network(pxc.EnergyModule):
    """Blocks of layers, a Vode behind each; the last one is clamped."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.blocks, last = [], len(problem.weights) - 1
        for i, (weight, bias) in enumerate(problem.weights):
            layer = made(weight, bias)
            pool = () if weight.ndim == 2 else (pxnn.MaxPool2d(kernel_size=2, stride=2),)
            self.blocks.append((layer,) if i == last else (layer, px.static(jax.nn.relu), *pool))
        self.vodes = [pxc.Vode() for _ in self.blocks]
        self.vodes[-1].h.frozen = True

    def __call__(self, x: Array, y: Array | None) -> Array:
        """Predict each Vode from the one before, and clamp the last where a target is given."""
        for i, (block, vode) in enumerate(zip(self.blocks, self.vodes, strict=True)):
            x = x.flatten() if i == len(self.blocks) - 1 else x
            for layer in block:
                x = layer(x)
            x = vode(x)
        if y is not None:
            self.vodes[-1].set("h", y)
        return self.vodes[-1].get("u")


def made(weight: Array, bias: Array) -> Any:
    """Return a layer with these weights."""
    if weight.ndim == 2:
        layer = pxnn.Linear(*weight.shape[::-1])
        layer.nn.bias.set(jax.numpy.asarray(bias))
    else:
        layer = pxnn.Conv2d(*weight.shape[1::-1], kernel_size=(3, 3), padding=(1, 1))
        layer.nn.bias.set(jax.numpy.asarray(bias)[:, None, None])
    layer.nn.weight.set(jax.numpy.asarray(weight))
    return layer


@pxf.vmap(pxu.M(STATES).to((None, 0)), in_axes=(0, 0), out_axes=0)
def forward(x: Array, y: Array, *, model: Network) -> Array:
    """Set the states feed-forward."""
    return model(x, y)


@pxf.vmap(pxu.M(STATES).to((None, 0)), in_axes=(0,), out_axes=(None, 0), axis_name="batch")
def energy(x: Array, *, model: Network) -> tuple[Array, Array]:
    """Return the energy summed over the batch, and the outputs."""
    y = model(x, None)
    return jax.lax.psum(model.energy(), "batch"), y


def hidden() -> Any:
    """Return the mask of the states that are free; made anew each time, for `to` changes a mask in place."""
    return pxu.M_hasnot(pxc.VodeParam, frozen=True)


def infer(sweeps: int, x: Array, y: Array, model: Network, optim_h: pxu.Optim) -> dict[str, Any]:
    """Infer the states and return the weights' gradients, summed over the batch."""
    model.train()
    with pxu.step(model, pxc.STATUS.INIT, clear_params=pxc.VodeParam.Cache):
        forward(x, y, model=model)
    optim_h.init(hidden()(model))
    for _ in range(sweeps):
        with pxu.step(model, clear_params=pxc.VodeParam.Cache):
            _, g = pxf.value_and_grad(hidden().to([False, True]), has_aux=True)(energy)(x, model=model)
        optim_h.step(model, g["model"])
    optim_h.clear()
    with pxu.step(model, clear_params=pxc.VodeParam.Cache):
        _, g = pxf.value_and_grad(pxu.M(pxnn.LayerParam).to([False, True]), has_aux=True)(energy)(x, model=model)
    return g["model"]


@pxf.jit(static_argnums=0)
def train(sweeps: int, x: Array, y: Array, *, model: Network, optim_w: pxu.Optim, optim_h: pxu.Optim) -> None:
    """Take one step."""
    optim_w.step(model, infer(sweeps, x, y, model, optim_h), scale_by=1.0 / BATCH)


@pxf.jit(static_argnums=0)
def slopes(sweeps: int, x: Array, y: Array, *, model: Network, optim_h: pxu.Optim) -> list[Array]:
    """Return the gradients of a step instead of taking it."""
    found = infer(sweeps, x, y, model, optim_h)
    return [p.get() / BATCH for block in found.blocks for p in (block[0].nn.weight, block[0].nn.bias)]


class Pcx:
    """The side."""

    def __init__(self, problem: Problem) -> None:
        self.sweeps, self.model = problem.sweeps, Network(problem)
        self.x, self.y = jax.numpy.asarray(problem.inputs), jax.numpy.asarray(problem.target)
        with pxu.step(self.model, pxc.STATUS.INIT, clear_params=pxc.VodeParam.Cache):
            forward(self.x, self.y, model=self.model)
        self.optim_w = pxu.Optim(lambda: optax.adamw(RATE, weight_decay=0.0), pxu.M(pxnn.LayerParam)(self.model))
        self.optim_h = pxu.Optim(lambda: optax.sgd(GAMMA))

    def gradients(self) -> list[Array]:
        """Return those of the first weights."""
        found = slopes(self.sweeps, self.x, self.y, model=self.model, optim_h=self.optim_h)
        return [np.asarray(g).squeeze() for g in found]

    def run(self, steps: int) -> None:
        """Take steps."""
        for _ in range(steps):
            train(self.sweeps, self.x, self.y, model=self.model, optim_w=self.optim_w, optim_h=self.optim_h)
        jax.block_until_ready(self.model.blocks[0][0].nn.weight.get())


SIDES = {"pcx": Pcx}
