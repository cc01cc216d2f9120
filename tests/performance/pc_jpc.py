"""The step by jpc's discrete updates: ``update_pc_activities`` for each sweep, then ``update_pc_params``."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jpc
import numpy as np
import optax
from equinox import nn
from pc_problem import BATCH, GAMMA, RATE, Array, Problem


def network(problem: Problem) -> list[nn.Sequential]:
    """Return the layers with the problem's weights."""
    built, key = [], jax.random.PRNGKey(0)
    for i, (weight, bias) in enumerate(problem.weights):
        sizes, flat = weight.shape[1::-1], weight.ndim == 2
        layer: Any = nn.Linear(*sizes, key=key) if flat else nn.Conv2d(*sizes, 3, padding=1, key=key)
        values = jax.numpy.asarray(weight), jax.numpy.asarray(bias if flat else bias[:, None, None])
        layer = eqx.tree_at(lambda m: (m.weight, m.bias), layer, values)
        relu, pool = nn.Lambda(jax.nn.relu), [] if flat else [nn.MaxPool2d(2, 2)]
        last = i == len(problem.weights) - 1
        built.append(nn.Sequential([nn.Lambda(jax.numpy.ravel), layer] if last else [layer, relu, *pool]))
    return built


class Jpc:
    """The loop of the library's users; `fused` puts a whole step into one jitted function."""

    def __init__(self, problem: Problem, fused: bool) -> None:
        self.sweeps, self.fused, self.model = problem.sweeps, fused, network(problem)
        self.x, self.y = jax.numpy.asarray(problem.inputs), jax.numpy.asarray(problem.target)
        # The library's energy is a mean over the batch, its activities' gradients are too.
        self.optim_h = optax.sgd(GAMMA * BATCH)
        self.optim_w = optax.adamw(RATE, weight_decay=0.0)
        self.state = self.optim_w.init((eqx.filter(self.model, eqx.is_array), None))
        self.step = eqx.filter_jit(self.take) if fused else self.take

    def take(self, model: Any, state: Any, x: Array, y: Array) -> tuple[Any, Any, Any]:
        """Return model and optimiser state after a step, and the gradients."""
        activities = jpc.init_activities_with_ffwd(model=model, input=x)
        held = self.optim_h.init(activities)
        for _ in range(self.sweeps):
            told = jpc.update_pc_activities(
                params=(model, None), activities=activities, optim=self.optim_h, opt_state=held, output=y, input=x
            )
            activities, held = told["activities"], told["opt_state"]
        told = jpc.update_pc_params(
            params=(model, None), activities=activities, optim=self.optim_w, opt_state=state, output=y, input=x
        )
        return told["model"], told["opt_state"], told["grads"]

    def gradients(self) -> list[Array]:
        """Return those of the first weights."""
        gradients = self.step(self.model, self.state, self.x, self.y)[2]
        found = jax.tree_util.tree_leaves(eqx.filter(gradients, eqx.is_array))
        return [np.asarray(g).squeeze() for g in found]

    def run(self, steps: int) -> None:
        """Take steps."""
        for _ in range(steps):
            self.model, self.state, _ = self.step(self.model, self.state, self.x, self.y)
        jax.block_until_ready(jax.tree_util.tree_leaves(eqx.filter(self.model, eqx.is_array)))


SIDES = {"jpc": lambda problem: Jpc(problem, fused=False), "jpc-fused": lambda problem: Jpc(problem, fused=True)}
