"""`snn-conv` by hand for snnTorch and for SpikingJelly, as their users write it, with the bench's neuron equation."""

from __future__ import annotations

import snntorch as snn
import torch
from snntorch import surrogate as snn_surrogate
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn


class SnnTorchNet(nn.Module):
    """A loop over the steps, states passed along; `hoisted` takes the first convolution out of the loop."""

    def __init__(self, width: int, steps: int, hoisted: bool) -> None:
        super().__init__()
        self.steps, self.hoisted = steps, hoisted
        fire = {"beta": 0.5, "spike_grad": snn_surrogate.atan(alpha=2.0), "reset_mechanism": "zero"}
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.lif1 = snn.Leaky(**fire)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.lif2 = snn.Leaky(**fire)
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(2 * width * 49, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Map [N, 1, 28, 28] to [T, N, 10]."""
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        current = self.conv1(image) if self.hoisted else None
        out = []
        for _ in range(self.steps):
            spk1, mem1 = self.lif1(self.conv1(image) if current is None else current, mem1)
            spk2, mem2 = self.lif2(self.conv2(self.pool(spk1)), mem2)
            out.append(self.fc(self.pool(spk2).flatten(1)))
        return torch.stack(out)


class SpikingJellyNet(nn.Module):
    """Multi-step layers on [T, N, ...]; `hoisted` computes the first convolution once and repeats its current."""

    def __init__(self, width: int, steps: int, hoisted: bool) -> None:
        super().__init__()
        self.steps, self.hoisted = steps, hoisted
        self.conv1 = layer.Conv2d(1, width, 3, padding=1, step_mode="s" if hoisted else "m")
        self.lif1 = self._fire()
        self.conv2 = layer.Conv2d(width, 2 * width, 3, padding=1, step_mode="m")
        self.lif2 = self._fire()
        self.pool = layer.AvgPool2d(2, step_mode="m")
        self.flatten = layer.Flatten(step_mode="m")
        self.fc = layer.Linear(2 * width * 49, 10, step_mode="m")

    @staticmethod
    def _fire() -> neuron.LIFNode:
        return neuron.LIFNode(
            tau=2.0, decay_input=False, surrogate_function=surrogate.ATan(2.0), detach_reset=True, step_mode="m"
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map [N, 1, 28, 28] to [T, N, 10]."""
        functional.reset_net(self)
        if self.hoisted:
            current = self.conv1(image).unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)
        else:
            current = self.conv1(image.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1))
        spikes = self.pool(self.lif1(current))
        spikes = self.pool(self.lif2(self.conv2(spikes)))
        return self.fc(self.flatten(spikes))


NETS = {"snntorch": SnnTorchNet, "spikingjelly": SpikingJellyNet}
