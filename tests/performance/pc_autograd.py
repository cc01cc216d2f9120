"""Predictive coding as it is first written in torch: an energy over a list of modules, and autograd for everything."""

from __future__ import annotations

from typing import Any

import torch
from pc_problem import BATCH, DEVICE, GAMMA, RATE, Array, Problem
from torch import Tensor, nn

# In float32 throughout, as the bench computes: convolutions would otherwise round to ten bits on an accelerator.
torch.backends.cudnn.allow_tf32 = False


def stages(problem: Problem, dtype: torch.dtype = torch.float32) -> list[nn.Module]:
    """Build the network's stages with the problem's weights."""
    built: list[nn.Module] = []
    for i, (weight, bias) in enumerate(problem.weights):
        sizes, flat = weight.shape[1::-1], weight.ndim == 2
        layer: Any = nn.Linear(*sizes) if flat else nn.Conv2d(*sizes, 3, padding=1)
        layer.weight.data, layer.bias.data = torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy())
        last = i == len(problem.weights) - 1
        after = [] if last else [nn.ReLU()] if problem.net == "mlp" else [nn.ReLU(), nn.MaxPool2d(2)]
        built.append(nn.Sequential(*([nn.Flatten()] if last else []), layer, *after).to(DEVICE, dtype))
    return built


class Autograd:
    """The plain loop; `innermost` puts the channels of maps and weights innermost."""

    def __init__(self, problem: Problem, innermost: bool = False, dtype: torch.dtype = torch.float32) -> None:
        self.sweeps, self.stages = problem.sweeps, stages(problem, dtype)
        self.inputs = torch.from_numpy(problem.inputs).to(DEVICE, dtype)
        self.target = torch.from_numpy(problem.target).to(DEVICE, dtype)
        if innermost:
            self.inputs = self.inputs.contiguous(memory_format=torch.channels_last)
            self.stages = [stage.to(memory_format=torch.channels_last) for stage in self.stages]
        self.parameters = [p for stage in self.stages for p in stage.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=RATE, weight_decay=0.0)

    def energy(self, states: list[Tensor]) -> Tensor:
        """Return half the squared prediction errors, summed over stages and batch."""
        pairs = zip(self.stages, states[:-1], states[1:], strict=True)
        parts = (0.5 * (x - stage(below)).square().sum() for stage, below, x in pairs)
        return sum(parts, torch.zeros((), device=DEVICE))

    def backward(self) -> None:
        """Infer the states and fill the weights' gradients."""
        states = [self.inputs]
        with torch.no_grad():
            for stage in self.stages:
                states.append(stage(states[-1]))
        states[-1] = self.target
        for _ in range(self.sweeps):
            hidden = [x.detach().requires_grad_() for x in states[1:-1]]
            slopes = torch.autograd.grad(self.energy([self.inputs, *hidden, self.target]), hidden)
            states[1:-1] = [x.detach() - GAMMA * slope for x, slope in zip(hidden, slopes, strict=True)]
        self.optimizer.zero_grad()
        (self.energy(states) / BATCH).backward()

    def gradients(self) -> list[Array]:
        """Return those of the first weights."""
        self.backward()
        return [p.grad.cpu().numpy().copy() for p in self.parameters if p.grad is not None]

    def run(self, steps: int) -> None:
        """Take steps."""
        for _ in range(steps):
            self.backward()
            self.optimizer.step()


class Backprop(Autograd):
    """One step of backpropagation on the same loss, to compare with: its gradients are others."""

    def backward(self) -> None:
        """Fill the weights' gradients."""
        self.optimizer.zero_grad()
        y = self.inputs
        for stage in self.stages:
            y = stage(y)
        (0.5 * (y - self.target).square().sum() / BATCH).backward()


SIDES = {
    "autograd": Autograd,
    "autograd-innermost": lambda problem: Autograd(problem, innermost=True),
    "backprop": lambda problem: Backprop(problem, innermost=problem.net == "vgg5"),
}
